"""NPZ: arrays of images beside arrays of labels, under the names that are in use."""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from models.config import SplitName
from models.datasets.labelled_images import Labels, PixelRows, Source
from models.datasets.sources.npz_members import Member, npz_members
from models.datasets.sources.paths import shown, slug
from models.datasets.sources.values import byte_pixels, number_labels
from models.errors import InputError

_PIECE_BYTES = 2**23
_NAMES: tuple[tuple[str, str, SplitName | None], ...] = (
    ("x_train", "y_train", "train"),
    ("x_validation", "y_validation", "validation"),
    ("x_valid", "y_valid", "validation"),
    ("x_val", "y_val", "validation"),
    ("x_test", "y_test", "test"),
    ("train_images", "train_labels", "train"),
    ("val_images", "val_labels", "validation"),
    ("test_images", "test_labels", "test"),
    ("images", "labels", None),
    ("x", "y", None),
)
"""Keras's, MedMNIST's and plain ones."""


@dataclass(frozen=True, slots=True)
class _Pair:
    images: Member
    labels: Member
    split: SplitName | None


def npz_file(path: Path) -> Source:
    """Return the images of an NPZ file: x_train with y_train and so on, or images with labels.

    What images and labels may be: `values`. An array `classes` names integer labels.
    Raises InputError for damage, objects, mismatches and values out of range.
    """
    members = npz_members(path)
    pairs = _pairs(members, path)
    names = [str(name) for name in members["classes"].whole()] if "classes" in members else None
    values = np.concatenate([pair.labels.whole().reshape(-1) for pair in pairs])
    classes, labels = number_labels(values, names, where=shown(path))
    starts = np.cumsum([0, *(_length(pair) for pair in pairs)])
    return Source(
        slug(path.stem),
        classes,
        rows=lambda: (
            rows
            for pair, start in zip(pairs, starts, strict=False)
            for rows in _rows(pair, labels[start : start + _length(pair)])
        ),
    )


def _length(pair: _Pair) -> int:
    return pair.images.shape[0]


def _pairs(members: dict[str, Member], path: Path) -> list[_Pair]:
    pairs = []
    for images, labels, split in _NAMES:
        if images not in members and labels not in members:
            continue
        if images not in members or labels not in members:
            missing = images if images not in members else labels
            raise InputError(f"{shown(path)}: lacks {missing}; images and labels come in pairs")
        pairs.append(_Pair(members[images], members[labels], split))
    if not pairs:
        raise InputError(
            f"{shown(path)}: holds {', '.join(members) or 'no arrays'}; wanted are x_train, "
            "y_train, x_test, y_test, or images and labels"
        )
    for pair in pairs:
        _check(pair)
    return pairs


def _check(pair: _Pair) -> None:
    images, labels = pair.images.shape, pair.labels.shape
    if len(images) not in (3, 4) or 0 in images:
        raise InputError(f"{pair.images.where}: is {images}; images are (n, h, w) or (n, h, w, c)")
    if math.prod(labels) != labels[0]:
        raise InputError(f"{pair.labels.where}: is {labels}; one label for each image is wanted")
    if images[0] != labels[0]:
        raise InputError(f"{pair.labels.where}: {labels[0]} labels for {images[0]} images")


def _rows(pair: _Pair, labels: Labels) -> Iterator[PixelRows]:
    width = math.prod(pair.images.shape[1:]) * pair.images.kind.itemsize
    start = 0
    for piece in pair.images.pieces(max(1, _PIECE_BYTES // width)):
        pixels = byte_pixels(piece, where=pair.images.where)
        yield PixelRows(pixels, labels[start : start + len(piece)], (pair.split,) * len(piece))
        start += len(piece)
