"""Scanning of images: each is decoded once, identified, measured and converted."""

import itertools
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from models.config import DataParams, SplitName
from models.datasets.batches import Batch, read_piece
from models.datasets.class_order import map_labels
from models.datasets.decoding import decode
from models.datasets.image_statistics import (
    ImageStatistics,
    concatenate_statistics,
    image_statistics,
)
from models.datasets.labelled_images import EncodedRows, PixelRows, Rows
from models.datasets.pixels import Pixels, conform, content_ids
from models.datasets.raw import RawDataset
from models.datasets.sources.groups import group_keys
from models.datasets.split_assignment import Pictures
from models.datasets.splits import Claim, Ids, carve_validation
from models.errors import InputError, IntegrityError
from models.processes import map_on_cores

_DECLARED: dict[SplitName, Claim] = {
    "train": Claim.TRAIN,
    "validation": Claim.VALIDATION,
    "test": Claim.TEST,
}
_PORTION_BYTES = 2**22
"""Of decoded pixels: what fits the processor's cache is measured faster, and files of one colour
unpack to a thousand times their length."""


@dataclass(frozen=True, slots=True)
class Scanned:
    """What is known of rows, except their pixels."""

    pictures: Pictures
    statistics: ImageStatistics
    paths: tuple[str, ...]
    """Of each row's file; empty for rows of an array."""

    def __len__(self) -> int:
        return len(self.paths)

    def name_of(self, row: int) -> str:
        """The row's path, or its number where it has none; for people."""
        return self.paths[row] or f"image {row}"


@dataclass(frozen=True, slots=True)
class Fault:
    """A file that is no readable image."""

    row: int
    """In its piece."""
    path: str
    reason: str


@dataclass(frozen=True, slots=True)
class _Portion:
    """Files that were decoded together."""

    images: list[Pixels]
    readable: list[int]
    """Row of each image."""
    faults: list[Fault]


@dataclass(frozen=True, slots=True)
class _Piece:
    """A row group, and the place of its first image in the scratch file."""

    batch: Batch
    number: int
    start: int


def scan(raw: RawDataset, scratch: Path, data: DataParams) -> Scanned:
    """Scan every row of the batches, files on all cores.

    Writes scratch: (rows, image_size, image_size, channels) uint8, in the order of the result.
    Raises IntegrityError where a batch is damaged.
    """
    scratch.touch()
    scan_one = partial(_scan_piece, scratch=scratch, data=data)
    if all(batch.shape for batch in raw.batches):
        scanned = concatenate_scans(map(scan_one, _pieces(raw)))
    else:
        scanned = concatenate_scans(found for _, found in map_on_cores(scan_one, _pieces(raw)))
    ranks = np.repeat(np.array(raw.ranks, np.int64), [batch.images for batch in raw.batches])
    start = 0
    for batch in raw.batches:
        mine = slice(start, start + batch.images)
        labels, claims = scanned.pictures.labels, scanned.pictures.claims
        labels[mine] = map_labels(labels[mine], batch.classes, raw.classes)
        claims[mine] = carve_validation(claims[mine])
        start += batch.images
    return replace(scanned, pictures=replace(scanned.pictures, arrivals=ranks))


def scan_rows(rows: Rows, data: DataParams) -> tuple[Scanned, NDArray[np.uint8], list[Fault]]:
    """Scan rows; return the readable ones, their converted pixels, and the faults of the others.

    Pixels: (readable rows, image_size, image_size, channels). Claims are as declared, not carved.
    """
    if isinstance(rows, PixelRows):
        paths = ("",) * len(rows.labels)
        return *_scan_images(rows.pixels, rows, paths=paths, data=data), []
    portions, faults = [], []
    for portion in _decode(rows):
        mine = rows.take(portion.readable)
        images = _stack(portion.images)
        portions.append(_scan_images(images, mine, paths=mine.paths, data=data))
        faults.extend(portion.faults)
    scanned, pixels = zip(*portions, strict=True)
    return concatenate_scans(scanned), np.concatenate(pixels), faults


def scan_pieces(
    pieces: Iterator[Rows], data: DataParams
) -> Iterator[tuple[Rows, Scanned, list[Fault]]]:
    """Scan pieces of a source, files on all cores; yield each with its result, in their order."""
    first = next(pieces, None)
    if first is None:
        return
    everything = itertools.chain([first], pieces)
    scan_one = partial(_scan_without_pixels, data=data)
    if isinstance(first, PixelRows):
        # Hashed faster than they are handed to another process.
        yield from ((rows, *scan_one(rows)) for rows in everything)
    else:
        yield from ((rows, *found) for rows, found in map_on_cores(scan_one, everything))


def _scan_without_pixels(rows: Rows, *, data: DataParams) -> tuple[Scanned, list[Fault]]:
    scanned, _, faults = scan_rows(rows, data)
    return scanned, faults


def concatenate_scans(pieces: Iterable[Scanned]) -> Scanned:
    """Concatenate pieces, at least one, in their order."""
    scanned = list(pieces)
    pictures = [piece.pictures for piece in scanned]
    return Scanned(
        pictures=Pictures(
            ids=np.concatenate([piece.ids for piece in pictures]),
            prints=np.concatenate([piece.prints for piece in pictures]),
            labels=np.concatenate([piece.labels for piece in pictures]),
            claims=np.concatenate([piece.claims for piece in pictures]),
            groups=concatenate_groups(pictures),
        ),
        statistics=concatenate_statistics([piece.statistics for piece in scanned]),
        paths=tuple(itertools.chain.from_iterable(piece.paths for piece in scanned)),
    )


def concatenate_groups(pictures: Sequence[Pictures]) -> Ids | None:
    """Concatenate keys of groups; zeros for pieces without. None where no piece has any."""
    if all(piece.groups is None for piece in pictures):
        return None
    without = (
        np.zeros_like(piece.ids) if piece.groups is None else piece.groups for piece in pictures
    )
    return np.concatenate(list(without))


def _pieces(raw: RawDataset) -> Iterator[_Piece]:
    start = 0
    for batch in raw.batches:
        for number, length in enumerate(batch.piece_lengths):
            yield _Piece(batch, number, start)
            start += length


def _scan_piece(piece: _Piece, *, scratch: Path, data: DataParams) -> Scanned:
    scanned, pixels, faults = scan_rows(read_piece(piece.batch, piece.number), data)
    if faults:
        raise IntegrityError(
            f"{piece.batch.path}: image {faults[0].path} {faults[0].reason}, though it was checked "
            "when it was added; bring the batch back with `pitchpipe data restore`"
        )
    with scratch.open("r+b") as file:
        # Written, not mapped: a full disk is then an error, not a SIGBUS.
        file.seek(piece.start * data.image_size**2 * data.channels)
        file.write(np.ascontiguousarray(pixels).data)
    return scanned


def _decode(rows: EncodedRows) -> Iterator[_Portion]:
    """Decode files a portion at a time; at least one portion, which may be empty."""
    portion, length = _Portion([], [], []), 0
    for row, file in enumerate(rows.files):
        try:
            if isinstance(file, InputError):
                raise file
            portion.images.append(decode(file))
            portion.readable.append(row)
            length += portion.images[-1].nbytes
        except InputError as error:
            portion.faults.append(Fault(row, rows.paths[row], str(error)))
        if length > _PORTION_BYTES:
            yield portion
            portion, length = _Portion([], [], []), 0
    yield portion


def _stack(images: list[Pixels]) -> list[Pixels] | NDArray[np.uint8]:
    """Make one array of images of one shape, on which all that follows is several times faster."""
    shapes = {image.shape for image in images}
    return np.stack(images) if len(shapes) == 1 else images


def _scan_images(
    images: list[Pixels] | NDArray[np.uint8],
    rows: Rows,
    *,
    paths: tuple[str, ...],
    data: DataParams,
) -> tuple[Scanned, NDArray[np.uint8]]:
    pixels = _conform_all(images, data)
    ids = content_ids(images)
    pictures = Pictures(
        ids=ids,
        prints=ids if pixels is images else content_ids(pixels),
        labels=rows.labels,
        claims=np.array([_DECLARED[split] if split else 0 for split in rows.splits], np.int8),
        groups=group_keys(rows, data),
    )
    return Scanned(pictures, image_statistics(images), paths), pixels


def _conform_all(
    images: Sequence[Pixels] | NDArray[np.uint8], data: DataParams
) -> NDArray[np.uint8]:
    form = data.form
    shape = (form.image_size, form.image_size, form.channels)
    if isinstance(images, np.ndarray) and images.shape[1:] == shape:
        return images
    conformed = np.empty((len(images), *shape), np.uint8)
    for place, image in zip(conformed, images, strict=True):
        place[:] = conform(image, form)
    return conformed
