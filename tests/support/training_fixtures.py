"""Small prepared datasets and trials that train in a blink."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from models.config import DataParams, SplitName, TrialConfig
from models.datasets.pixels import content_ids
from models.datasets.prepared import Dropped, Manifest, SplitInfo, digest_array
from models.digests import digest_of
from models.files import read_lines
from models.networks import CnnConfig
from models.training.fit import train_trial
from models.training.source import package_versions
from models.trials import EpochRecord, Outcome, TrialFiles, TrialResult, TrialSpec

CLASSES = 3
SIDE = 8
COUNTS: dict[SplitName, int] = {"train": 50, "validation": 30, "test": 6}
SMALL_CNN = CnnConfig(channels=(8, 8), hidden_units=16)
UNSEEN = Manifest(
    name="d",
    digest="d",
    raw_digest="r",
    classes=("0", "1"),
    image_size=8,
    channels=1,
    mean=(0.5,),
    std=(0.5,),
    splits={},
    images=0,
    dropped=Dropped(),
    params=DataParams(),
)
"""A dataset for what needs no images."""


def write_prepared(
    folder: Path,
    *,
    permuted: bool = False,
    channels: int = 1,
    shares: tuple[float, ...] | None = None,
) -> Manifest:
    """Write images whose class is where they are bright; permuted: labels that mean nothing.

    shares: of the classes, by default alike; where given, the classes are hard to tell apart, too.
    """
    random = np.random.default_rng(7)
    splits: dict[SplitName, SplitInfo] = {}
    for name, count in COUNTS.items():
        if shares is None:
            labels = random.integers(CLASSES, size=count)
            images = _images(labels, random, channels)
        else:
            labels = random.choice(CLASSES, size=6 * count, p=shares)
            images = _images(labels, random, channels, contrast=25)
        shown = random.permutation(labels) if permuted else labels
        splits[name] = _write_split(folder / name, images, shown)
    manifest = Manifest(
        name="bars",
        digest=digest_of({name: info.digest for name, info in splits.items()}),
        raw_digest="0" * 64,
        params=DataParams(name="bars", image_size=SIDE),
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


def bars_images(count: int, *, seed: int) -> NDArray[np.uint8]:
    """Images of the same kind, (count, 1, SIDE, SIDE), that no split has."""
    random = np.random.default_rng([seed, count])
    return _images(random.integers(CLASSES, size=count), random, 1)


def _images(
    labels: NDArray[np.int64], random: np.random.Generator, channels: int, *, contrast: int = 100
) -> NDArray[np.uint8]:
    images = random.integers(90, size=(len(labels), channels, SIDE, SIDE))
    for image, label in zip(images, labels, strict=True):
        image[:, 3 * label : 3 * label + 2] += contrast
    return images.astype(np.uint8)


def _write_split(folder: Path, images: NDArray[np.uint8], labels: NDArray[np.int64]) -> SplitInfo:
    folder.mkdir(parents=True)
    ids = content_ids(images.transpose(0, 2, 3, 1))
    order = np.lexsort(ids.T[::-1])
    images, labels, ids = images[order], labels[order], ids[order]
    arrays = (("images", images), ("labels", labels), ("ids", ids))
    for name, array in arrays:
        np.save(folder / f"{name}.npy", array)
    digests = {name: digest_array(array) for name, array in arrays}
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


@dataclass(frozen=True, slots=True)
class Trials:
    """Trains trials on one small prepared dataset."""

    prepared: Path
    manifest: Manifest

    @classmethod
    def of(cls, prepared: Path, *, permuted: bool = False) -> "Trials":
        """Write the dataset."""
        return cls(prepared, write_prepared(prepared, permuted=permuted))

    def outcome(
        self,
        directory: Path,
        config: TrialConfig,
        budget: int,
        *,
        on_epoch: Callable[[EpochRecord], None] = ignore,
    ) -> Outcome:
        """Train to a budget."""
        spec = spec_of(config, self.manifest)
        return train_trial(
            spec, directory, prepared=self.prepared, budget=budget, on_epoch=on_epoch
        )

    def result(self, directory: Path, config: TrialConfig, budget: int) -> TrialResult:
        """Train to a budget, which must succeed."""
        outcome = self.outcome(directory, config, budget)
        assert isinstance(outcome, TrialResult)
        return outcome

    def history(self, directory: Path) -> list[EpochRecord]:
        """Records of the epochs trained."""
        lines = read_lines(directory / TrialFiles.HISTORY)
        return [EpochRecord.model_validate_json(line) for line in lines]
