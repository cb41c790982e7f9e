"""Scanning: each image of the batches read once, into a scratch file of prepared pixels."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from models.config import DataParams, SplitName
from models.datasets.assignment import Pictures
from models.datasets.batches import Batch, read_piece
from models.datasets.decoding import decode
from models.datasets.pixels import Pixels, conform, content_ids
from models.datasets.raw import RawDataset
from models.datasets.rows import EncodedRows, Labels
from models.datasets.splits import Claim

_DECLARED: dict[SplitName, Claim] = {
    "train": Claim.TRAIN,
    "validation": Claim.VALIDATION,
    "test": Claim.TEST,
}


@dataclass(frozen=True, slots=True)
class _Piece:
    """A row group, and the place of its first image in the scratch file."""

    batch: Batch
    number: int
    start: int


def scan(raw: RawDataset, scratch: Path, data: DataParams) -> Pictures:
    """Decode, name and conform every row of the batches.

    Writes scratch: (rows, image_size, image_size, channels) uint8, in the order of the result.
    """
    scratch.touch()
    scanned = [_scan_piece(piece, scratch, data) for piece in _pieces(raw)]
    rows = Pictures(
        ids=np.concatenate([piece.ids for piece in scanned]),
        prints=np.concatenate([piece.prints for piece in scanned]),
        labels=np.concatenate([piece.labels for piece in scanned]),
        claims=np.concatenate([piece.claims for piece in scanned]),
    )
    start = 0
    for batch in raw.batches:
        mine = slice(start, start + batch.images)
        rows.labels[mine] = _renumbered(batch, rows.labels[mine], raw.classes)
        rows.claims[mine] = _carved(rows.claims[mine])
        start += batch.images
    return rows


def _pieces(raw: RawDataset) -> Iterator[_Piece]:
    start = 0
    for batch in raw.batches:
        for number, length in enumerate(batch.piece_lengths):
            yield _Piece(batch, number, start)
            start += length


def _scan_piece(piece: _Piece, scratch: Path, data: DataParams) -> Pictures:
    rows = read_piece(piece.batch, piece.number)
    images = [decode(file) for file in rows.files] if isinstance(rows, EncodedRows) else rows.pixels
    conformed = _conformed(images, data)
    with scratch.open("r+b") as file:
        # Written, not mapped: a full disk is then an error, not a SIGBUS.
        file.seek(piece.start * data.image_size**2 * data.channels)
        file.write(conformed.data)
    ids = content_ids(images)
    return Pictures(
        ids=ids,
        prints=ids if conformed is images else content_ids(conformed),
        labels=rows.labels,
        claims=np.array([_DECLARED[split] if split else 0 for split in rows.splits], np.int8),
    )


def _conformed(images: Sequence[Pixels] | NDArray[np.uint8], data: DataParams) -> NDArray[np.uint8]:
    shape = (data.image_size, data.image_size, data.channels)
    if isinstance(images, np.ndarray) and images.shape[1:] == shape:
        return images
    conformed = [
        conform(image, image_size=data.image_size, channels=data.channels) for image in images
    ]
    return np.stack(conformed)


def _renumbered(batch: Batch, labels: Labels, classes: tuple[str, ...]) -> Labels:
    numbers = np.array([classes.index(name) for name in batch.classes], np.int64)
    return numbers[labels]


def _carved(claims: NDArray[np.int8]) -> NDArray[np.int8]:
    """Let validation be carved from a batch's declared train where the batch declares none."""
    if np.any(claims == Claim.VALIDATION):
        return claims
    return np.where(claims == Claim.TRAIN, np.int8(Claim.CARVED), claims)
