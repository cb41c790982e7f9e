"""Folds of train and validation, of which each is predicted by a network that did not see it."""

import shutil
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray
from pydantic import JsonValue

from models.config import SplitName
from models.datasets.array_writer import mean_and_std, write_split
from models.datasets.prepared import MANIFEST, Manifest, Split, SplitInfo, open_split, read_manifest
from models.datasets.split_assignment import Pictures
from models.datasets.splits import Ids, Indices
from models.digests import digest_of
from models.errors import InputError, PitchpipeError
from models.files import write_text

POOL: tuple[SplitName, SplitName] = ("train", "validation")
"""Splits that are divided into folds."""
Places: TypeAlias = dict[SplitName, Indices]


@dataclass(frozen=True, slots=True)
class Pool:
    """Train and validation, one after the other."""

    splits: dict[SplitName, Split]
    labels: NDArray[np.int64]
    """(n,)."""
    ids: Ids
    """(n, 32)."""
    folds: NDArray[np.int64]
    """(n,), number of each image's fold, from 0."""

    def held(self, fold: int) -> Places:
        """Rows of each split that a fold holds out."""
        return {name: np.flatnonzero(part == fold) for name, part in self._parts().items()}

    def seen(self, fold: int) -> Places:
        """Rows of each split that its network may see."""
        return {name: np.flatnonzero(part != fold) for name, part in self._parts().items()}

    def _parts(self) -> dict[SplitName, NDArray[np.int64]]:
        ends = np.cumsum([len(split.labels) for split in self.splits.values()])[:-1]
        return dict(zip(self.splits, np.split(self.folds, ends), strict=True))


def open_pool(prepared: Path, keys: dict[bytes, bytes], *, folds: int, seed: int) -> Pool:
    """Divide train and validation of prepared arrays into folds, stratified by label.

    keys: of images that must share a fold, by id; others are by themselves.
    Raises InputError where even the largest class has fewer images than there are folds.
    """
    splits = {name: open_split(prepared, name, verify=True) for name in POOL}
    labels = np.concatenate([split.labels for split in splits.values()])
    ids = np.concatenate([split.ids for split in splits.values()])
    groups = [keys.get(one.tobytes(), one.tobytes()) for one in ids]
    return Pool(splits, labels, ids, assign_folds(labels, groups, folds=folds, seed=seed))


def assign_folds(
    labels: NDArray[np.int64], groups: list[bytes], *, folds: int, seed: int
) -> NDArray[np.int64]:
    """Return the fold of each image, (n,), from 0; those of one group share it.

    labels: (n,). Every class is spread evenly, as far as its images and groups allow.
    """
    from sklearn.model_selection import (  # noqa: PLC0415 - half a second
        StratifiedGroupKFold,
        StratifiedKFold,
    )

    largest = int(np.bincount(labels).max())
    numbers = {group: number for number, group in enumerate(dict.fromkeys(groups))}
    if min(largest, len(numbers)) < folds:
        raise InputError(
            f"--folds {folds}: the largest class has {largest} images, in {len(numbers)} groups; "
            "choose fewer folds, or add images"
        )
    apart = len(numbers) == len(labels)
    kind = StratifiedKFold if apart else StratifiedGroupKFold
    together = None if apart else [numbers[one] for one in groups]
    divided = np.zeros(len(labels), np.int64)
    with warnings.catch_warnings():
        # A class of fewer images than folds is held out whole at times; it then looks suspicious.
        warnings.filterwarnings("ignore", message="The least populated class", category=UserWarning)
        parts = kind(folds, shuffle=True, random_state=seed).split(
            np.zeros(len(labels)), labels, together
        )
        for number, (_, held) in enumerate(parts):
            divided[held] = number
    return divided


def write_fold(folder: Path, pool: Pool, manifest: Manifest, fold: int) -> Manifest:
    """Write prepared arrays of train and validation without a fold, as trials take them.

    Complete once the manifest is there; one that is there is kept.
    """
    path = folder / MANIFEST
    if path.is_file():
        return read_manifest(folder)
    shutil.rmtree(folder, ignore_errors=True)  # of one that was killed
    infos = {
        name: _write(folder / name, pool.splits[name], rows, len(manifest.classes))
        for name, rows in pool.seen(fold).items()
    }
    if not all(info.images for info in infos.values()):
        raise PitchpipeError(
            f"fold {fold + 1} leaves no image of train or validation; choose more --folds"
        )
    mean, std = mean_and_std(np.load(folder / POOL[0] / "images.npy", mmap_mode="r"))
    digests: dict[str, JsonValue] = {name: info.digest for name, info in infos.items()}
    update = {
        "splits": infos,
        "digest": digest_of({"splits": digests, "of": manifest.digest}),
        "images": sum(info.images for info in infos.values()),
        "mean": mean,
        "std": std,
    }
    written = manifest.model_copy(update=update)
    write_text(path, written.model_dump_json(indent=1) + "\n")
    return written


def _write(folder: Path, split: Split, rows: Indices, n_classes: int) -> SplitInfo:
    pictures = Pictures(
        ids=split.ids, prints=split.ids, labels=split.labels, claims=np.zeros(0, np.int8)
    )
    images = split.images.transpose(0, 2, 3, 1)  # a view
    return write_split(folder, images, pictures, rows=rows, n_classes=n_classes)
