"""Scanning: each image decoded once, named, looked at and conformed to the prepared shape."""

import itertools
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from models.config import DataParams, SplitName
from models.datasets.batches import Batch, read_piece
from models.datasets.decoding import decode
from models.datasets.image_statistics import Looks, joined, look_at
from models.datasets.labelled_images import EncodedRows, Labels, PixelRows, Rows
from models.datasets.pixels import Pixels, conform, content_ids
from models.datasets.process_pool import on_all_cores
from models.datasets.raw import RawDataset
from models.datasets.split_assignment import Pictures
from models.datasets.splits import Claim
from models.errors import InputError, IntegrityError

_DECLARED: dict[SplitName, Claim] = {
    "train": Claim.TRAIN,
    "validation": Claim.VALIDATION,
    "test": Claim.TEST,
}
_PORTION_BYTES = 2**22
"""Of decoded pixels: what is in the processor's cache is looked at faster, and files of one colour
unpack to a thousand times their length."""


@dataclass(frozen=True, slots=True)
class Scanned:
    """What is known of rows, but for their pixels."""

    pictures: Pictures
    looks: Looks

    def __len__(self) -> int:
        return len(self.pictures.labels)


@dataclass(frozen=True, slots=True)
class Fault:
    """A file that is no readable image."""

    path: str
    reason: str


@dataclass(frozen=True, slots=True)
class _Decoded:
    """A portion of files."""

    images: list[Pixels]
    readable: list[int]
    """Row of each image."""
    faults: list[Fault]


@dataclass(frozen=True, slots=True)
class Survey:
    """What a piece of a source came to."""

    scanned: Scanned
    faults: tuple[Fault, ...]


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
        scanned = join(map(scan_one, _pieces(raw)))
    else:
        scanned = join(found for _, found in on_all_cores(scan_one, _pieces(raw)))
    start = 0
    for batch in raw.batches:
        mine = slice(start, start + batch.images)
        labels, claims = scanned.pictures.labels, scanned.pictures.claims
        labels[mine] = renumbered(batch.classes, labels[mine], raw.classes)
        claims[mine] = carved(claims[mine])
        start += batch.images
    return scanned


def scan_rows(rows: Rows, data: DataParams) -> tuple[Scanned, NDArray[np.uint8], list[Fault]]:
    """Scan rows; return what is known of the readable ones, their conformed pixels, the faults.

    Pixels: (readable rows, image_size, image_size, channels). Claims are as declared, not carved.
    """
    if isinstance(rows, PixelRows):
        return *_known(rows.pixels, rows.labels, rows.splits, data), []
    portions, faults = [], []
    for decoded in _decoded(rows):
        splits = [rows.splits[row] for row in decoded.readable]
        images = _stacked(decoded.images)
        portions.append(_known(images, rows.labels[decoded.readable], splits, data))
        faults.extend(decoded.faults)
    scanned, conformed = zip(*portions, strict=True)
    return join(scanned), np.concatenate(conformed), faults


def survey(pieces: Iterator[Rows], data: DataParams) -> Iterator[tuple[Rows, Survey]]:
    """Scan rows on their way elsewhere, files on all cores; yield them in their order."""
    first = next(pieces, None)
    if first is None:
        return
    everything = itertools.chain([first], pieces)
    look = partial(_surveyed, data=data)
    if isinstance(first, PixelRows):
        # Hashed faster than they are handed to another process.
        yield from ((rows, look(rows)) for rows in everything)
    else:
        yield from on_all_cores(look, everything)


def _surveyed(rows: Rows, *, data: DataParams) -> Survey:
    scanned, _, faults = scan_rows(rows, data)
    return Survey(scanned, tuple(faults))


def join(scanned: Iterable[Scanned]) -> Scanned:
    """Put pieces together, in their order; at least one."""
    pieces = list(scanned)
    pictures = [piece.pictures for piece in pieces]
    return Scanned(
        pictures=Pictures(
            ids=np.concatenate([piece.ids for piece in pictures]),
            prints=np.concatenate([piece.prints for piece in pictures]),
            labels=np.concatenate([piece.labels for piece in pictures]),
            claims=np.concatenate([piece.claims for piece in pictures]),
        ),
        looks=joined([piece.looks for piece in pieces]),
    )


def renumbered(names: tuple[str, ...], labels: Labels, classes: tuple[str, ...]) -> Labels:
    """Return labels that index classes, of labels that index names."""
    numbers = {name: number for number, name in enumerate(classes)}
    return np.array([numbers[name] for name in names], np.int64)[labels]


def carved(claims: NDArray[np.int8]) -> NDArray[np.int8]:
    """Let validation be carved from a batch's declared train where the batch declares none."""
    if np.any(claims == Claim.VALIDATION):
        return claims
    return np.where(claims == Claim.TRAIN, np.int8(Claim.CARVED), claims)


def _pieces(raw: RawDataset) -> Iterator[_Piece]:
    start = 0
    for batch in raw.batches:
        for number, length in enumerate(batch.piece_lengths):
            yield _Piece(batch, number, start)
            start += length


def _scan_piece(piece: _Piece, *, scratch: Path, data: DataParams) -> Scanned:
    scanned, conformed, faults = scan_rows(read_piece(piece.batch, piece.number), data)
    if faults:
        raise IntegrityError(
            f"{piece.batch.path}: image {faults[0].path} {faults[0].reason}, though it was checked "
            "when it was added; bring the batch back with `pitchpipe data restore`"
        )
    with scratch.open("r+b") as file:
        # Written, not mapped: a full disk is then an error, not a SIGBUS.
        file.seek(piece.start * data.image_size**2 * data.channels)
        file.write(np.ascontiguousarray(conformed).data)
    return scanned


def _decoded(rows: EncodedRows) -> Iterator[_Decoded]:
    """Decode files a portion at a time; at least one, which may be empty."""
    portion, length = _Decoded([], [], []), 0
    for row, file in enumerate(rows.files):
        try:
            portion.images.append(decode(file))
            portion.readable.append(row)
            length += portion.images[-1].nbytes
        except InputError as error:
            portion.faults.append(Fault(rows.paths[row], str(error)))
        if length > _PORTION_BYTES:
            yield portion
            portion, length = _Decoded([], [], []), 0
    yield portion


def _stacked(images: list[Pixels]) -> list[Pixels] | NDArray[np.uint8]:
    """Make one array of images of one shape, on which all that follows is several times faster."""
    shapes = {image.shape for image in images}
    return np.stack(images) if len(shapes) == 1 else images


def _known(
    images: list[Pixels] | NDArray[np.uint8],
    labels: Labels,
    splits: Sequence[SplitName | None],
    data: DataParams,
) -> tuple[Scanned, NDArray[np.uint8]]:
    conformed = _conformed(images, data)
    ids = content_ids(images)
    pictures = Pictures(
        ids=ids,
        prints=ids if conformed is images else content_ids(conformed),
        labels=labels,
        claims=np.array([_DECLARED[split] if split else 0 for split in splits], np.int8),
    )
    return Scanned(pictures, look_at(images)), conformed


def _conformed(images: Sequence[Pixels] | NDArray[np.uint8], data: DataParams) -> NDArray[np.uint8]:
    shape = (data.image_size, data.image_size, data.channels)
    if isinstance(images, np.ndarray) and images.shape[1:] == shape:
        return images
    conformed = np.empty((len(images), *shape), np.uint8)
    for place, image in zip(conformed, images, strict=True):
        place[:] = conform(image, image_size=data.image_size, channels=data.channels)
    return conformed
