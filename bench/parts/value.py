"""Do intervals from smaller fractions hold what the larger one shows? On real images.

Several disjoint (digits: redrawn) train splits, each trained on six nested fractions with three
seeds and draws. Each four (five) consecutive fractions are one question: the smaller ones predict
the largest, overall and for each class.
Trials are mlp networks and small cnn ones, trained for as many steps whatever the fraction.
"""

import gzip
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from sklearn.datasets import load_digits

from models.config import CnnConfig, DataParams, MlpConfig, NetworkConfig, SplitName, TrialConfig
from models.datasets.pixels import content_ids
from models.datasets.prepared import Dropped, Manifest, SplitInfo, digest_array, open_split
from models.digests import digest_of
from models.evaluation.data_value.fitting import Trials, hold_out, of_class
from models.evaluation.inference import predict_probabilities
from models.training.checkpoint import load_serving
from models.training.fit import train_trial
from models.training.source import package_versions
from models.training.subset import chosen
from models.trials import Subset, TrialResult, TrialSpec

FASHION = Path("/usr/share/datasets/fashion-mnist")
FRACTIONS = (1 / 32, 1 / 16, 1 / 8, 1 / 4, 1 / 2, 1.0)
SEEDS = 3
MLP = MlpConfig(hidden_units=64)
CNN = CnnConfig(channels=(8, 16, 16), hidden_units=32)
SMALLER = (3, 4)
HEADING = "{:14}{:8}{:>7}{:>8}  {:>18}{:>7}  {:>18}"


@dataclass(frozen=True, slots=True)
class Case:
    """Images, a network, and how many train splits."""

    images: str
    network: NetworkConfig
    splits: int
    train: int
    validation: int
    epochs: int


CASES = (
    Case("digits", MLP, splits=4, train=1200, validation=500, epochs=8),
    Case(
        "fashion-mnist", MlpConfig(hidden_units=64), splits=4, train=3200, validation=2000, epochs=5
    ),
    Case("fashion-mnist", CNN, splits=2, train=3200, validation=2000, epochs=5),
)


@dataclass(slots=True)
class Count:
    """Intervals, and how many of them held what was found."""

    of: int = 0
    held: int = 0
    widths: list[float] = field(default_factory=list)

    def add(self, low: float, found: float, high: float) -> None:
        self.of += 1
        self.held += low <= found <= high
        self.widths.append(high - low)

    @property
    def text(self) -> str:
        return f"{self.held:3} of {self.of:3} ({100 * self.held / self.of:.0f} %)"


def measure() -> Iterator[str]:
    """Lines of the table."""
    yield "95 % intervals of the error on a larger fraction, from the smaller ones, that"
    yield "held what was found; median width in points of error (data worth)"
    yield HEADING.format(
        "images", "network", "splits", "smaller", "error", "width", "recall by class"
    )
    totals = {smaller: (Count(), Count()) for smaller in SMALLER}
    for case in CASES:
        if case.images == "fashion-mnist" and not FASHION.is_dir():
            yield f"{case.images:14}not installed: Debian's dataset-fashion-mnist"
            continue
        counts = {smaller: (Count(), Count()) for smaller in SMALLER}
        for split in range(case.splits):
            with tempfile.TemporaryDirectory() as scratch:
                sizes, labels = train_sizes(case, split, Path(scratch))
            for smaller in SMALLER:
                for start in range(len(sizes) - smaller):
                    window = sizes[start : start + smaller + 1]
                    every = list(zip(counts[smaller], totals[smaller], strict=True))
                    ask(window, every[0])
                    for label in range(10):
                        ask(of_class(window, labels, label), every[1], falls=False)
        for smaller, found in counts.items():
            yield line(case.images, case.network.name, str(case.splits), smaller, found)
    for smaller, found in totals.items():
        yield line("all", "", "", smaller, found)


def line(images: str, network: str, splits: str, smaller: int, counts: tuple[Count, Count]) -> str:
    error, recall = counts
    width = f"{100 * float(np.median(error.widths)):.1f}"
    return HEADING.format(images, network, splits, smaller, error.text, width, recall.text)


def ask(window: Sequence[Trials], counts: Sequence[Count], *, falls: bool = True) -> None:
    """Hold the largest of the window out."""
    found = hold_out(window, falls=falls)
    assert found is not None
    for count in counts:
        count.add(found.predicted.interval.low, found.found, found.predicted.interval.high)


def train_sizes(case: Case, split: int, folder: Path) -> tuple[list[Trials], NDArray[np.int64]]:
    """Train all fractions of one train split."""
    manifest = write_split(case, split, folder / "prepared")
    train, validation = (
        open_split(folder / "prepared", name, verify=False) for name in ("train", "validation")
    )
    sizes = []
    for fraction in FRACTIONS:
        wrong, images = [], []
        for seed in range(SEEDS):
            subset = Subset(fraction=fraction, draw=seed) if fraction < 1 else None
            images.append(int(chosen(train, subset).sum()) if subset else len(train.labels))
            config = TrialConfig(network=case.network, seed=seed, objective="cross_entropy")
            spec = TrialSpec(
                config=config,
                dataset=manifest.digest,
                source="",
                versions=package_versions(),
                subset=subset,
            )
            place = folder / spec.key
            result = train_trial(
                spec,
                place,
                prepared=folder / "prepared",
                budget=case.epochs,
                on_epoch=lambda _: None,
            )
            assert isinstance(result, TrialResult)
            serving = load_serving(place, result, manifest)
            said = predict_probabilities(serving, validation.images, threads=1)
            wrong.append(said.argmax(axis=1) != validation.labels)
        sizes.append(Trials(float(np.mean(images)), np.array(wrong)))
    return sizes, np.array(validation.labels)


def write_split(case: Case, number: int, folder: Path) -> Manifest:
    """Prepare one train split and its validation images."""
    images, labels = read_images(case.images)
    if case.images == "digits":  # too few for disjoint splits: redrawn
        rows = np.random.default_rng(number).permutation(len(labels))
    else:
        rows = np.random.default_rng(0).permutation(len(labels))
        rows = np.roll(rows, -number * (case.train + case.validation))
    parts: dict[SplitName, NDArray[np.int64]] = {
        "train": rows[: case.train],
        "validation": rows[case.train : case.train + case.validation],
        "test": rows[-50:],
    }
    splits = {}
    for name, chosen_rows in parts.items():
        pixels = images[chosen_rows]
        arrays: dict[str, NDArray[np.generic]] = {
            "images": pixels,
            "labels": labels[chosen_rows],
            "ids": content_ids(pixels),
        }
        (folder / name).mkdir(parents=True)
        for array, content in arrays.items():
            np.save(folder / name / f"{array}.npy", content)
        digests = {array: digest_array(content) for array, content in arrays.items()}
        counts = np.bincount(labels[chosen_rows], minlength=10).tolist()
        splits[name] = SplitInfo(
            images=len(chosen_rows),
            digest=digest_of({**digests}),
            arrays=digests,
            class_counts=tuple(counts),
        )
    side = images.shape[-1]
    manifest = Manifest(
        name=case.images,
        digest=digest_of({name: info.digest for name, info in splits.items()}),
        raw_digest="0" * 64,
        classes=tuple(map(str, range(10))),
        image_size=side,
        channels=1,
        mean=(0.3,),
        std=(0.3,),
        splits=splits,
        images=len(rows),
        dropped=Dropped(),
        params=DataParams(name=case.images, image_size=side),
    )
    (folder / "manifest.json").write_text(manifest.model_dump_json())
    return manifest


def read_images(name: str) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """Images (n, 1, side, side) and labels (n,)."""
    if name == "digits":
        digits = load_digits()
        return (digits.images * 15).astype(np.uint8)[:, None], digits.target.astype(np.int64)
    with gzip.open(FASHION / "train-images-idx3-ubyte.gz") as file:
        images = np.frombuffer(file.read(), np.uint8, offset=16).reshape(-1, 1, 28, 28)
    with gzip.open(FASHION / "train-labels-idx1-ubyte.gz") as file:
        labels = np.frombuffer(file.read(), np.uint8, offset=8).astype(np.int64)
    return images, labels
