"""How often does `monitor` cry wolf, and what does it see? On Fashion-MNIST.

Usage: python bench/drift.py [--data DIR] [--slices N] [--detections N] [--epochs N]

The network is trained on 9,000 images; the reference is the validation split. False alarms are
counted on slices of images of the same file that were neither trained on nor validated with, and
detections on changed slices of these. Slices of one size overlap where there are not enough images.
"""

import argparse
import gzip
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import ndimage
from torch import nn

from models.config import DriftParams, TrialConfig
from models.datasets.pixels import content_ids
from models.datasets.prepared import open_split, read_manifest
from models.digests import digest_of
from models.monitoring.embedding import predict_and_embed
from models.monitoring.report import compare
from models.monitoring.sample import Sample, gather, sample_of
from models.training.checkpoint import load_serving
from models.training.fit import train_trial
from models.training.source import package_versions
from models.trials import TrialResult, TrialSpec

Images = NDArray[np.uint8]
BATCHES = (200, 500, 1000)
PARAMS = DriftParams(permutations=199, looks=1, significance=0.05 / 0.75, minimum_effect=0)
"""One report at 5 %, whatever the size of a shift."""
NAMES = ("brightness", "contrast", "embedding", "classes", "confidence")
POOL = 3000
"""Images that each change is made to; slices of it are drawn."""


@dataclass(frozen=True, slots=True)
class Change:
    """What is done to images, at rising severity."""

    name: str
    steps: Sequence[float]
    unit: str
    apply: Callable[[Images, float], Images]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, default=Path("/usr/share/datasets/fashion-mnist"))
    parser.add_argument("--slices", type=int, default=200)
    parser.add_argument("--detections", type=int, default=20)
    parser.add_argument("--epochs", type=int, default=4)
    options = parser.parse_args()
    images, labels = read_train(options.data.resolve())
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        network, reference, known = trained(options.epochs)
    unseen = np.flatnonzero([row.tobytes() not in known for row in ids_of(images)])
    unseen = np.random.default_rng(0).permutation(unseen)
    print(f"reference: {len(reference):,} images of validation; {PARAMS}")
    held_out = seen(network, images[unseen])
    print_false_alarms(reference, held_out, options.slices)
    pool = images[unseen[:POOL]]
    print_detections(network, reference, pool, options.detections)
    print_skews(reference, held_out, labels[unseen], slices=options.detections)


def print_false_alarms(reference: Sample, held_out: Sample, slices: int) -> None:
    print(f"\nFalse alarms in {slices} slices of {len(held_out):,} held-out images; at most 5 %")
    print(f"{'images':>8} {'any':>8}   {'   '.join(NAMES)}")
    random = np.random.default_rng(1)
    for count in BATCHES:
        chosen = [random.choice(len(held_out), count, replace=False) for _ in range(slices)]
        alarms = np.array([shifts(reference, part(held_out, rows)) for rows in chosen])
        each = "   ".join(
            f"{100 * share:{len(name)}.1f}"
            for name, share in zip(NAMES, alarms.mean(axis=0), strict=True)
        )
        print(f"{count:8} {100 * alarms.any(axis=1).mean():6.1f} %   {each}", flush=True)


def print_detections(network: nn.Module, reference: Sample, images: Images, slices: int) -> None:
    print(f"\nDrift found in changed slices, {slices} each; by which tests in slices of 500")
    print(f"{'change':22}" + "".join(f"{count:>7}" for count in BATCHES) + "   by")
    for change in CHANGES:
        for step in change.steps:
            changed = seen(network, change.apply(images, step))
            print_detection(f"{change.name} {step:g}{change.unit}", reference, changed, slices)


def print_skews(
    reference: Sample, held_out: Sample, labels: NDArray[np.int64], *, slices: int
) -> None:
    """Class 0 is a tenth; no image is drawn twice, since a copy says nothing new."""
    random = np.random.default_rng(2)
    first, others = np.flatnonzero(labels == 0), np.flatnonzero(labels != 0)
    for share in (0.15, 0.2, 0.3, 0.5):
        of_first = round(2000 * share)
        drawn = np.concatenate(
            [
                random.choice(first, of_first, replace=False),
                random.choice(others, 2000 - of_first, replace=False),
            ]
        )
        title = f"class skew 10 -> {100 * share:g} %"
        print_detection(title, reference, part(held_out, drawn), slices)


def print_detection(title: str, reference: Sample, changed: Sample, slices: int) -> None:
    random = np.random.default_rng(3)
    shares = []
    for count in BATCHES:
        chosen = [random.choice(len(changed), count, replace=False) for _ in range(slices)]
        alarms = np.array([shifts(reference, part(changed, rows)) for rows in chosen])
        shares.append(f"{100 * alarms.any(axis=1).mean():5.0f} %")
        if count == 500:
            by = [
                name for name, often in zip(NAMES, alarms.mean(axis=0), strict=True) if often >= 0.5
            ]
    print(f"{title:22}{''.join(shares)}   {', '.join(by) or '-'}", flush=True)


def rotated(images: Images, degrees: float) -> Images:
    turned: Images = ndimage.rotate(images, degrees, axes=(1, 2), reshape=False, order=1)
    return turned


def noisy(images: Images, deviation: float) -> Images:
    noise = np.random.default_rng(4).normal(0, deviation, images.shape)
    return np.clip(images + noise, 0, 255).astype(np.uint8)


def inverted(images: Images, share: float) -> Images:
    chosen = np.random.default_rng(5).random(len(images)) < share / 100
    return np.where(chosen[:, None, None], 255 - images, images)


CHANGES = (
    Change("rotated by", (3, 5, 10, 20, 90), " degrees", rotated),
    Change("noise of", (5, 10, 20, 40), " levels", noisy),
    Change("inverted:", (1, 2, 5, 100), " %", inverted),
)


def shifts(reference: Sample, batch: Sample) -> list[bool]:
    report = compare(reference, batch, PARAMS, classes=[str(label) for label in range(10)])
    return [test.shifted for test in report.tests]


def part(sample: Sample, rows: NDArray[np.intp]) -> Sample:
    return Sample(**{field.name: getattr(sample, field.name)[rows] for field in fields(Sample)})


def seen(network: nn.Module, images: Images) -> Sample:
    """See images (n, 28, 28), in their order."""
    probabilities, embeddings = predict_and_embed(network, images[:, None], threads=1)
    return sample_of(
        images[:, None], ids_of(images), probabilities=probabilities, embeddings=embeddings
    )


def ids_of(images: Images) -> NDArray[np.uint8]:
    return content_ids(images[..., None])


def trained(epochs: int) -> tuple[nn.Module, Sample, set[bytes]]:
    """Network as it is registered, the reference, and ids of what it was made of."""
    Path("params.yaml").write_text("data: {name: fashion-mnist, limit: 9000}\n")
    program = str(Path(sys.executable).parent / "pitchpipe")
    subprocess.run([program, "prepare"], check=True, stdout=subprocess.DEVNULL)
    prepared, manifest = Path("data/prepared"), read_manifest(Path("data/prepared"))
    spec = TrialSpec(
        config=TrialConfig(),
        dataset=manifest.digest,
        source=digest_of("bench"),
        versions=package_versions(),
    )
    result = train_trial(
        spec, Path("trial"), prepared=prepared, budget=epochs, on_epoch=lambda _: None
    )
    assert isinstance(result, TrialResult)
    serving = load_serving(Path("trial"), result, manifest)
    example = (torch.zeros(4, 1, 28, 28, dtype=torch.uint8),)
    exported = torch.export.export(serving, example, dynamic_shapes=({0: torch.export.Dim("n")},))
    network = exported.module()
    validation = open_split(prepared, "validation", verify=True)
    train = open_split(prepared, "train", verify=True)
    known = {row.tobytes() for split in (validation, train) for row in split.ids}
    reference = seen(network, np.asarray(validation.images[:, 0]))
    print(f"validation accuracy after {epochs} epochs: {result.scores.accuracy:.4f}")
    return network, gather([reference], most=PARAMS.most_images), known


def read_train(folder: Path) -> tuple[Images, NDArray[np.int64]]:
    with gzip.open(folder / "train-images-idx3-ubyte.gz") as file:
        images = np.frombuffer(file.read(), np.uint8, offset=16).reshape(-1, 28, 28)
    with gzip.open(folder / "train-labels-idx1-ubyte.gz") as file:
        labels = np.frombuffer(file.read(), np.uint8, offset=8)
    return images, labels.astype(np.int64)


if __name__ == "__main__":
    main()
