"""Fine-tuning on few images beside training from nothing: `python bench/fine_tuning.py`.

Two tables. New classes: digits 0 to 4 train a parent, digits 5 to 9 a child that begins with its
backbone. New pictures: upright digits train a parent, others, turned by 45 degrees, a child that
begins with all its layers. A child has 10, 20 or 50 images a class, the parent 80; the epoch is
chosen on 20 further images a class, the rest is the test. Test accuracy over seeds, mean and
standard deviation; minutes.
"""

import argparse
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import safetensors.torch
from numpy.typing import NDArray
from scipy.ndimage import rotate
from sklearn.datasets import load_digits

from models.config import DataParams, SplitName, TrialConfig
from models.config.start import StartConfig
from models.datasets.pixels import content_ids
from models.datasets.prepared import Dropped, Manifest, SplitInfo, digest_array, open_split
from models.digests import digest_of
from models.evaluation.inference import predict_probabilities
from models.training.checkpoint import load_serving, load_weights
from models.training.fit import train_trial
from models.training.source import package_versions
from models.training.starting import read_parent
from models.trials import TrialFiles, TrialResult, TrialSpec

Images = NDArray[np.uint8]
Labels = NDArray[np.int64]
EPOCHS = {"parent": 15, "child": 40}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=5)
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        for case in (NEW_CLASSES, NEW_PICTURES):
            print(f"{case.title}\nimages a class   from nothing     from a parent    seeds")
            for images in (10, 20, 50):
                compare(case, images, seeds=asked.seeds, folder=Path(scratch))


@dataclass(frozen=True, slots=True)
class Case:
    title: str
    parent: range
    child: range
    degrees: float
    """By which the child's digits are turned."""
    layers: Literal["all", "backbone"]


NEW_CLASSES = Case("new classes, backbone", range(5), range(5, 10), 0, "backbone")
NEW_PICTURES = Case("new pictures, all layers", range(10), range(10), 45, "all")


def compare(case: Case, images: int, *, seeds: int, folder: Path) -> None:
    found = [
        accuracies(case, folder / f"{case.layers}-{images}-{seed}", images, seed)
        for seed in range(seeds)
    ]
    cells = [f"{np.mean(one):.3f} +- {np.std(one, ddof=1):.3f}" for one in zip(*found, strict=True)]
    print(f"{images:14}   {cells[0]}   {cells[1]}   {seeds}", flush=True)


def accuracies(case: Case, folder: Path, images: int, seed: int) -> tuple[float, float]:
    """Test accuracy from new weights, and from those of a parent of the same seed."""
    folder.mkdir()
    parts = Digits(seed)
    parent = parts.write(folder / "parent", case.parent, (0, 80, 100))
    child = parts.write(
        folder / "child", case.child, (100, 100 + images, 120 + images), degrees=case.degrees
    )
    first = train(
        folder / "parent", parent, TrialConfig(seed=seed), folder / "t0", EPOCHS["parent"]
    )
    nothing = train(folder / "child", child, TrialConfig(seed=seed), folder / "t1", EPOCHS["child"])
    (folder / "t2").mkdir()
    weights = load_weights(folder / "t0" / first.checkpoint, first.checkpoint_digest)
    file = folder / "t2" / TrialFiles.START
    safetensors.torch.save_file({name: one.contiguous() for name, one in weights.items()}, file)
    start = StartConfig(
        origin=file.name,
        layers=case.layers,
        weights=read_parent(file).digest,
        mean=parent.mean,
        std=parent.std,
    )
    config = TrialConfig(seed=seed, start=start)
    tuned = train(folder / "child", child, config, folder / "t2", EPOCHS["child"])
    return (
        accuracy(folder / "child", child, folder / "t1", nothing),
        accuracy(folder / "child", child, folder / "t2", tuned),
    )


def train(
    prepared: Path, manifest: Manifest, config: TrialConfig, directory: Path, epochs: int
) -> TrialResult:
    spec = TrialSpec(
        config=config, dataset=manifest.digest, source="bench", versions=package_versions()
    )
    result = train_trial(spec, directory, prepared=prepared, budget=epochs, on_epoch=lambda _: None)
    assert isinstance(result, TrialResult)
    return result


def accuracy(prepared: Path, manifest: Manifest, directory: Path, result: TrialResult) -> float:
    test = open_split(prepared, "test", verify=False)
    network = load_serving(directory, result, manifest)
    found = predict_probabilities(network, test.images, threads=1).argmax(1)
    return float((found == test.labels).mean())


class Digits:
    """Digits of 8 x 8 pixels, each thrice a side in a frame of 28, in an order by the seed."""

    def __init__(self, seed: int) -> None:
        bunch = load_digits()
        pixels = np.kron(bunch.images, np.ones((3, 3))) * (255 / 16)
        self._images = np.pad(pixels, ((0, 0), (2, 2), (2, 2)))
        random = np.random.default_rng(seed)
        self._rows = [random.permutation(np.flatnonzero(bunch.target == one)) for one in range(10)]

    def write(
        self, folder: Path, digits: range, cuts: tuple[int, int, int], *, degrees: float = 0
    ) -> Manifest:
        """Write of each digit the images between the cuts: train, validation; the rest: test."""
        first, second, third = cuts
        spans: dict[SplitName, tuple[int, int | None]] = {
            "train": (first, second),
            "validation": (second, third),
            "test": (third, None),
        }
        splits: dict[SplitName, SplitInfo] = {}
        for split, span in spans.items():
            rows = [self._rows[digit][slice(*span)] for digit in digits]
            labels = np.repeat(np.arange(len(digits)), [len(part) for part in rows])
            turned = rotate(self._images[np.concatenate(rows)], degrees, axes=(1, 2), reshape=False)
            images = np.clip(turned.round(), 0, 255).astype(np.uint8)[:, None]
            splits[split] = write_split(folder / split, images, labels)
        return write_manifest(folder, [*map(str, digits)], splits, name="digits")


def write_manifest(
    folder: Path, classes: Sequence[str], splits: Mapping[SplitName, SplitInfo], *, name: str
) -> Manifest:
    """Write the manifest of splits that lie in the folder, images (n, channels, side, side)."""
    scaled = np.load(folder / "train/images.npy") / 255
    _, channels, side, _ = scaled.shape
    manifest = Manifest(
        name=name,
        digest=digest_of({split: info.digest for split, info in splits.items()}),
        raw_digest="0" * 64,
        params=DataParams(name=name, image_size=side, channels=channels),
        classes=tuple(classes),
        image_size=side,
        channels=channels,
        mean=tuple(scaled.mean((0, 2, 3)).tolist()),
        std=tuple(scaled.std((0, 2, 3)).tolist()),
        splits=dict(splits),
        images=sum(info.images for info in splits.values()),
        dropped=Dropped(),
    )
    (folder / "manifest.json").write_text(manifest.model_dump_json())
    return manifest


def write_split(folder: Path, images: Images, labels: Labels) -> SplitInfo:
    folder.mkdir(parents=True)
    ids = content_ids(images.transpose(0, 2, 3, 1))
    order = np.lexsort(ids.T[::-1])
    arrays: dict[str, NDArray[np.generic]] = {
        "images": images[order],
        "labels": labels[order],
        "ids": ids[order],
    }
    for name, array in arrays.items():
        np.save(folder / f"{name}.npy", array)
    digests = {name: digest_array(array) for name, array in arrays.items()}
    counts = tuple(np.bincount(labels).tolist())
    return SplitInfo(
        images=len(labels), digest=digest_of({**digests}), arrays=digests, class_counts=counts
    )


if __name__ == "__main__":
    main()
