"""Proof for every `data add` that no picture changed its split, computed from ids and prints."""

import zipfile
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from flows.datasets.files import batch_digests, holds_images
from flows.datasets.versions import arrivals
from models.config import DataParams
from models.datasets.batches import read_batch, read_piece
from models.datasets.near_duplicates.clusters import with_roots
from models.datasets.scanning import (
    Scanned,
    concatenate_groups,
    concatenate_scans,
    scan_pieces,
)
from models.datasets.split_assignment import Pictures, picture_keys, picture_splits
from models.datasets.splits import Ids, Indices, carve_validation
from models.digests import digest_of
from models.files import replacing

_IDS = Path("data/.ids")
"""Ids, prints and claims of each batch, by its digest; a cache, because decoding is slow."""


@dataclass(frozen=True, slots=True)
class Moves:
    """How many of a dataset's images changed their split when a batch was added."""

    before: int
    """Different images before."""
    moved: int
    """Of these, those in another split now: only a new declaration does that."""


@dataclass(frozen=True, slots=True)
class _Known:
    """What a batch is split by."""

    pictures: Pictures
    """Labels, which do not count for that, are all 0."""
    outlined: Indices
    outlines: NDArray[np.uint8]
    """As of ImageStatistics."""


def remember_ids(digest: str, scanned: Scanned, data: DataParams) -> None:
    """Cache what a batch that was just scanned, for arrays as `data` wants them, is split by."""
    pictures = scanned.pictures
    with replacing(_file(digest)) as temporary, temporary.open("wb") as file:
        np.savez(
            file,
            ids=pictures.ids,
            prints=pictures.prints,
            claims=pictures.claims,
            groups=np.empty((0, 32), np.uint8) if pictures.groups is None else pictures.groups,
            outlined=scanned.statistics.outlined,
            outlines=scanned.statistics.outlines,
            form=np.array(_form(data)),
        )


def count_moves(added: str, data: DataParams) -> Moves:
    """Compare the splits of the dataset's images with the batch of digest `added` and without."""
    batches = _all_known(data)
    before = [known for digest, known in batches if digest != added]
    if not before:
        return Moves(0, 0)
    old_ids, old = picture_splits(_joined(before, data), data)
    new_ids, new = picture_splits(_joined([known for _, known in batches], data), data)
    places = _places(old_ids, new_ids)
    return Moves(before=len(old_ids), moved=int(np.count_nonzero(old != new[places])))


def known_ids(data: DataParams) -> Ids:
    """Return the id of every row of the dataset's batches, (n, 32), copies included.

    Batches are decoded where that is not cached; the caller holds `data_lock`.
    """
    return np.concatenate([known.pictures.ids for _, known in _all_known(data)])


def shared_keys(data: DataParams) -> dict[bytes, bytes]:
    """Return what must stay together with other images of the dataset: id -> key.

    Keys are those of groups, or ids of the pictures that these are near copies of; images by
    themselves are left out. The caller holds `data_lock`.
    """
    ids, keys = picture_keys(_joined([known for _, known in _all_known(data)], data), data)
    apart = np.all(ids == keys, axis=1)
    return {
        one.tobytes(): key.tobytes() for one, key in zip(ids[~apart], keys[~apart], strict=True)
    }


def _all_known(data: DataParams) -> list[tuple[str, _Known]]:
    """Return the digest of each batch with what it is split by."""
    came = arrivals(data.name)
    return [
        (digest, _known(path, digest, data, rank=came.get(path.name, len(came))))
        for path, digest in batch_digests(data.name)
        if holds_images(path)
    ]


def _joined(batches: list[_Known], data: DataParams) -> Pictures:
    every = [known.pictures for known in batches]
    pictures = Pictures(
        ids=np.concatenate([one.ids for one in every]),
        prints=np.concatenate([one.prints for one in every]),
        labels=np.concatenate([one.labels for one in every]),
        claims=np.concatenate([one.claims for one in every]),
        arrivals=np.concatenate([one.ranks for one in every]),
        groups=concatenate_groups(every),
    )
    if data.near_copies == "report":
        return pictures
    starts = np.cumsum([0, *(len(one.ids) for one in every)])
    outlined = [known.outlined + start for known, start in zip(batches, starts, strict=False)]
    outlines = np.concatenate([known.outlines for known in batches])
    return with_roots(pictures, np.concatenate(outlined), outlines)


def _places(some: Ids, among: Ids) -> NDArray[np.intp]:
    """Return the place of each id among others; both are ascending, and all are found."""
    return np.searchsorted(_sortable(among), _sortable(some))


def _sortable(ids: Ids) -> NDArray[np.bytes_]:
    # Hexadecimal: as raw bytes, NumPy would drop trailing zeros.
    return np.array([row.tobytes().hex() for row in ids], dtype="S64")


def _known(path: Path, digest: str, data: DataParams, *, rank: int) -> _Known:
    found = _read_cached(_file(digest), data)
    if found is None:
        batch = read_batch(path)
        pieces = (read_piece(batch, piece) for piece in range(len(batch.piece_lengths)))
        scanned = concatenate_scans(scanned for _, scanned, _ in scan_pieces(pieces, data))
        remember_ids(digest, scanned, data)
        statistics = scanned.statistics
        found = _Known(scanned.pictures, statistics.outlined, statistics.outlines)
    pictures = replace(
        found.pictures,
        labels=np.zeros(len(found.pictures.ids), np.int64),
        claims=carve_validation(found.pictures.claims),
        arrivals=np.full(len(found.pictures.ids), rank),
    )
    return replace(found, pictures=pictures)


def _read_cached(path: Path, data: DataParams) -> _Known | None:
    """Return cached rows; None where there are none of this image form, or the file is damaged."""
    try:
        with np.load(path, allow_pickle=False) as arrays:
            if str(arrays["form"]) != _form(data):
                return None
            pictures = Pictures(
                ids=arrays["ids"],
                prints=arrays["prints"],
                labels=np.empty(0, np.int64),
                claims=arrays["claims"],
                groups=arrays["groups"] if len(arrays["groups"]) else None,
            )
            return _Known(pictures, arrays["outlined"], arrays["outlines"])
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile):
        return None


def _form(data: DataParams) -> str:
    """Identify what of the params the cached values depend on."""
    return digest_of([digest_of(data.form), data.group])


def _file(digest: str) -> Path:
    return _IDS / f"{digest}.npz"
