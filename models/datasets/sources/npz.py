"""NPZ: arrays of images beside arrays of labels, read in pieces and never unpickled."""

import math
import struct
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from models.config import SplitName
from models.datasets.labelled_images import Labels, PixelRows, Source
from models.datasets.sources.paths import regular_file, shown, slug
from models.datasets.sources.values import (
    check_count,
    check_shape,
    group_names,
    number_labels,
    to_bytes,
)
from models.errors import InputError

_PIECE_BYTES = 2**23
_MAX_BYTES = 2**28
_MAX_MEMBERS = 1000
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
_HEADER_READERS = {
    (1, 0): np.lib.format.read_array_header_1_0,
    (2, 0): np.lib.format.read_array_header_2_0,
}


@dataclass(frozen=True, slots=True)
class _Member:
    """One array of an NPZ file."""

    path: Path
    """Of the NPZ file."""
    name: str
    shape: tuple[int, ...]
    kind: np.dtype[np.generic]
    start: int
    """Where the values begin, bytes."""

    @property
    def where(self) -> str:
        """For messages."""
        return f"{shown(self.path)}: {self.name}"

    def pieces(self, rows: int) -> Iterator[NDArray[np.generic]]:
        """Read the array, at most so many rows at a time."""
        width = math.prod(self.shape[1:]) * self.kind.itemsize
        with _opened(self.path) as archive, archive.open(f"{self.name}.npy") as values:
            values.read(self.start)
            for first in range(0, self.shape[0], rows):
                count = min(rows, self.shape[0] - first)
                data = values.read(count * width)
                if len(data) != count * width:
                    raise InputError(f"{self.where}: ends too early; fetch or copy the file again")
                yield np.frombuffer(data, self.kind).reshape(count, *self.shape[1:])
            # The checksum is compared when the end is met.
            values.read(1)

    def whole(self) -> NDArray[np.generic]:
        """Read an array of labels or class names."""
        length = math.prod(self.shape) * self.kind.itemsize
        if length > _MAX_BYTES:
            raise InputError(
                f"{self.where}: has {length:,} bytes; at most {_MAX_BYTES:,} of labels or "
                "names are read; save numbers, and their names as `classes`"
            )
        return np.concatenate([np.empty((0, *self.shape[1:]), self.kind), *self.pieces(2**20)])


@dataclass(frozen=True, slots=True)
class _Pair:
    images: _Member
    labels: _Member
    split: SplitName | None
    groups: tuple[str | None, ...] = ()

    @property
    def length(self) -> int:
        return self.images.shape[0]


def npz_file(path: Path) -> Source:
    """Return the images of an NPZ file: x_train with y_train and so on, or images with labels.

    What images and labels may be: `values`. An array `classes` names integer labels.
    Raises InputError for damage, objects, mismatches and values out of range.
    """
    members = _members(path)
    pairs = _pairs(members, path)
    check_count(sum(pair.length for pair in pairs), where=shown(path))
    names = [str(name) for name in members["classes"].whole()] if "classes" in members else None
    values = np.concatenate([pair.labels.whole().reshape(-1) for pair in pairs])
    classes, labels = number_labels(values, names, where=shown(path))
    starts = np.cumsum([0, *(pair.length for pair in pairs)])
    return Source(
        slug(path.stem),
        classes,
        rows=lambda: (
            rows
            for pair, start in zip(pairs, starts, strict=False)
            for rows in _rows(pair, labels[start : start + pair.length])
        ),
    )


def _pairs(members: dict[str, _Member], path: Path) -> list[_Pair]:
    pairs = []
    for images, labels, split in _NAMES:
        if images not in members and labels not in members:
            continue
        if images not in members or labels not in members:
            missing = images if images not in members else labels
            raise InputError(f"{shown(path)}: lacks {missing}; images and labels come in pairs")
        groups = members.get(_groups_beside(labels))
        names = () if groups is None else _groups(groups, members[images])
        pairs.append(_Pair(members[images], members[labels], split, names))
    if not pairs:
        raise InputError(
            f"{shown(path)}: holds {', '.join(members) or 'no arrays'}; wanted are x_train, "
            "y_train, x_test, y_test, or images and labels"
        )
    for pair in pairs:
        _check(pair)
    if any(pair.groups for pair in pairs):
        # Of one kind: the batch has the column, or has it not.
        return [replace(pair, groups=pair.groups or (None,) * pair.length) for pair in pairs]
    return pairs


def _groups_beside(labels: str) -> str:
    """Name of the array of groups: y_train has groups_train, train_labels train_groups."""
    if labels == "y":
        return "groups"
    return labels.replace("labels", "groups") if "labels" in labels else f"groups{labels[1:]}"


def _groups(groups: _Member, images: _Member) -> tuple[str | None, ...]:
    if math.prod(groups.shape) != images.shape[0] or groups.kind.kind not in "iuU":
        raise InputError(
            f"{groups.where}: is {groups.shape} {groups.kind}; a name or an integer for each of "
            f"{images.shape[0]} images is wanted"
        )
    return group_names(groups.whole().reshape(-1).tolist())


def _check(pair: _Pair) -> None:
    images, labels = pair.images.shape, pair.labels.shape
    if len(images) not in (3, 4) or 0 in images:
        raise InputError(f"{pair.images.where}: is {images}; images are (n, h, w) or (n, h, w, c)")
    check_shape(images[1:], where=pair.images.where)
    if math.prod(images[1:]) * pair.images.kind.itemsize > _MAX_BYTES:
        raise InputError(
            f"{pair.images.where}: an image of {images[1:]} {pair.images.kind} is too large"
        )
    if math.prod(labels) != labels[0]:
        raise InputError(f"{pair.labels.where}: is {labels}; one label for each image is wanted")
    if images[0] != labels[0]:
        raise InputError(f"{pair.labels.where}: {labels[0]} labels for {images[0]} images")


def _rows(pair: _Pair, labels: Labels) -> Iterator[PixelRows]:
    width = math.prod(pair.images.shape[1:]) * pair.images.kind.itemsize
    start = 0
    for piece in pair.images.pieces(max(1, _PIECE_BYTES // width)):
        pixels = to_bytes(piece, where=pair.images.where)
        part = slice(start, start + len(piece))
        splits = (pair.split,) * len(piece)
        yield PixelRows(pixels, labels[part], splits, pair.groups[part])
        start += len(piece)


def _members(path: Path) -> dict[str, _Member]:
    """Return the arrays of an NPZ file by name.

    Raises InputError where it is no such file, is damaged, or holds pickled objects.
    """
    regular_file(path)
    with _opened(path) as archive:
        files = archive.infolist()
        if len(files) > _MAX_MEMBERS:
            raise InputError(f"{shown(path)}: holds {len(files):,} arrays; at most {_MAX_MEMBERS}")
        members = [_member(archive, info, path) for info in files]
    if len({member.name for member in members}) != len(members):
        raise InputError(f"{shown(path)}: holds two arrays of one name; save it again")
    return {member.name: member for member in members}


@contextmanager
def _opened(path: Path) -> Iterator[zipfile.ZipFile]:
    try:
        with zipfile.ZipFile(path) as archive:
            yield archive
    # RuntimeError: encrypted, or of a compression that is not there. The others: damage.
    except (zipfile.BadZipFile, EOFError, OSError, RuntimeError, zlib.error, struct.error) as error:
        raise InputError(f"{shown(path)}: cannot be read ({error}); copy it again") from error
    except (ValueError, OverflowError) as error:
        raise InputError(f"{shown(path)}: is a damaged archive ({error}); copy it again") from error


def _member(archive: zipfile.ZipFile, info: zipfile.ZipInfo, path: Path) -> _Member:
    name = info.filename.removesuffix(".npy")
    where = f"{shown(path)}: {shown(name)}"
    if name == info.filename or "/" in name or "\\" in name:
        raise InputError(f"{where}: is no array of an NPZ file; give a file made by numpy.savez")
    if info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        raise InputError(f"{where}: is compressed otherwise than by numpy.savez_compressed")
    with archive.open(info) as values:
        try:
            shape, fortran, kind = _HEADER_READERS[np.lib.format.read_magic(values)](values)
        except (ValueError, KeyError, EOFError, TypeError, MemoryError, RecursionError) as error:
            reason = str(error)[:200]
            raise InputError(f"{where}: is no array ({reason}); save the file again") from error
        start = values.tell()
    if kind.hasobject:
        raise InputError(f"{where}: holds pickled objects, which are never loaded; save numbers")
    if fortran and len(shape) > 1:
        raise InputError(f"{where}: is in Fortran order; save numpy.ascontiguousarray of it")
    # bool is an int in Python, but no number of rows.
    whole = shape and all(type(length) is int and length >= 0 for length in shape)
    if not whole or not kind.itemsize or start + math.prod(shape) * kind.itemsize != info.file_size:
        raise InputError(f"{where}: claims {shape} {kind} and is not that long; save it again")
    return _Member(path, name, shape, kind, start)
