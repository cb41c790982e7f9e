"""Proof for every `data add` that no image changed its split, computed from content ids."""

import zipfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from flows.datasets.files import batch_digests
from models.config import DataParams
from models.datasets.batches import read_batch, read_piece
from models.datasets.scanning import Scanned, concatenate_scans, scan_pieces
from models.datasets.splits import Ids, carve_validation, picture_splits
from models.files import replacing

_IDS = Path("data/.ids")
"""Ids and claims of each batch, by its digest; a cache, because decoding is slow."""


@dataclass(frozen=True, slots=True)
class Moves:
    """How many of a dataset's images changed their split when a batch was added."""

    before: int
    """Different images before."""
    moved: int
    """Of these, those in another split now: only a new declaration does that."""


@dataclass(frozen=True, slots=True)
class _Rows:
    ids: Ids
    claims: NDArray[np.int8]


def remember_ids(digest: str, scanned: Scanned) -> None:
    """Cache the ids of a batch that was just scanned."""
    with replacing(_file(digest)) as temporary, temporary.open("wb") as file:
        np.savez(file, ids=scanned.pictures.ids, claims=scanned.pictures.claims)


def count_moves(added: str, data: DataParams) -> Moves:
    """Compare the splits of the dataset's images with the batch of digest `added` and without."""
    batches = [(digest, _rows(path, digest, data)) for path, digest in batch_digests(data.name)]
    before = [rows for digest, rows in batches if digest != added]
    if not before:
        return Moves(0, 0)
    old_ids, old = _splits(before, data)
    new_ids, new = _splits([rows for _, rows in batches], data)
    places = _places(old_ids, new_ids)
    return Moves(before=len(old_ids), moved=int(np.count_nonzero(old != new[places])))


def _splits(batches: list[_Rows], data: DataParams) -> tuple[Ids, NDArray[np.int8]]:
    ids = np.concatenate([rows.ids for rows in batches])
    claims = np.concatenate([rows.claims for rows in batches])
    return picture_splits(ids, claims, data.fractions)


def _places(some: Ids, among: Ids) -> NDArray[np.intp]:
    """Return the place of each id among others; both are ascending, and all are found."""
    return np.searchsorted(_sortable(among), _sortable(some))


def _sortable(ids: Ids) -> NDArray[np.bytes_]:
    # Hexadecimal: as raw bytes, NumPy would drop trailing zeros.
    return np.array([row.tobytes().hex() for row in ids], dtype="S64")


def _rows(path: Path, digest: str, data: DataParams) -> _Rows:
    cached = _read_cached(_file(digest))
    if cached is not None:
        return cached
    batch = read_batch(path)
    pieces = (read_piece(batch, piece) for piece in range(len(batch.piece_lengths)))
    scanned = concatenate_scans(scanned for _, scanned, _ in scan_pieces(pieces, data))
    remember_ids(digest, scanned)
    return _Rows(scanned.pictures.ids, carve_validation(scanned.pictures.claims))


def _read_cached(path: Path) -> _Rows | None:
    """Return cached rows; None where there are none, or the file is damaged."""
    try:
        with np.load(path, allow_pickle=False) as arrays:
            return _Rows(arrays["ids"], carve_validation(arrays["claims"]))
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile):
        return None


def _file(digest: str) -> Path:
    return _IDS / f"{digest}.npz"
