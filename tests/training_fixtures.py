"""Small prepared datasets and trials that train in a blink."""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from models.config import CnnConfig, SplitName, TrialConfig
from models.datasets.prepared import Dropped, Manifest, SplitInfo
from models.digests import digest_file, digest_of
from models.training.source import package_versions
from models.trials import EpochRecord, TrialSpec

CLASSES = 3
SIDE = 8
COUNTS: dict[SplitName, int] = {"train": 50, "validation": 30, "test": 6}
SMALL_CNN = CnnConfig(channels=(4, 4), hidden_units=8)


def write_prepared(folder: Path, *, permuted: bool = False, channels: int = 1) -> Manifest:
    """Write images whose class is where they are bright; permuted: labels that mean nothing."""
    random = np.random.default_rng(7)
    splits: dict[SplitName, SplitInfo] = {}
    for name, count in COUNTS.items():
        labels = random.integers(CLASSES, size=count)
        images = _images(labels, random, channels)
        shown = random.permutation(labels) if permuted else labels
        splits[name] = _write_split(folder / name, images, shown)
    manifest = Manifest(
        name="bars",
        digest=digest_of({name: info.digest for name, info in splits.items()}),
        raw_digest="0" * 64,
        classes=("top", "middle", "bottom"),
        image_size=SIDE,
        channels=channels,
        mean=(0.3,) * channels,
        std=(0.25,) * channels,
        splits=splits,
        images=sum(COUNTS.values()),
        dropped=Dropped(),
    )
    (folder / "manifest.json").write_text(manifest.model_dump_json())
    return manifest


def _images(
    labels: NDArray[np.int64], random: np.random.Generator, channels: int
) -> NDArray[np.uint8]:
    images = random.integers(90, size=(len(labels), channels, SIDE, SIDE))
    for image, label in zip(images, labels, strict=True):
        image[:, 3 * label : 3 * label + 2] += 100
    return images.astype(np.uint8)


def _write_split(folder: Path, images: NDArray[np.uint8], labels: NDArray[np.int64]) -> SplitInfo:
    folder.mkdir(parents=True)
    ids = np.arange(len(labels) * 32, dtype=np.int64).astype(np.uint8).reshape(-1, 32)
    arrays = (("images", images), ("labels", labels), ("ids", ids))
    for name, array in arrays:
        np.save(folder / f"{name}.npy", array)
    digests = {name: digest_file(folder / f"{name}.npy") for name, _ in arrays}
    counts = tuple(int((labels == label).sum()) for label in range(CLASSES))
    return SplitInfo(
        images=len(labels), digest=digest_of({**digests}), arrays=digests, class_counts=counts
    )


def spec_of(config: TrialConfig, manifest: Manifest) -> TrialSpec:
    """Spec of a trial on a dataset written here; its source digest is any."""
    return TrialSpec(
        config=config, dataset=manifest.digest, source="0" * 64, versions=package_versions()
    )


def ignore(record: EpochRecord) -> None:
    """Be told of an epoch and do nothing."""
    del record
