"""Assignment of rows to splits, with copies, conflicting labels and limits resolved."""

from dataclasses import dataclass
from itertools import islice

import numpy as np
from numpy.typing import NDArray

from models.config import DataParams
from models.datasets.labelled_images import SPLITS, Labels
from models.datasets.prepared import Dropped, Eviction
from models.datasets.splits import (
    Claim,
    Copies,
    Ids,
    Indices,
    group_copies,
    has_two_labels,
    split_of,
)
from models.errors import InputError

_MAX_EVICTIONS = 1000
NO_LABEL = -1
"""Label of a row that a relabelling drops: it decides on splits as before, and is not kept."""


@dataclass(frozen=True, slots=True)
class Pictures:
    """Identity and label of every row of the batches."""

    ids: Ids
    """Of the decoded images."""
    prints: Ids
    """Ids of the images as prepared: equal where resizing made two images equal."""
    labels: Labels
    """Indices into the classes, or NO_LABEL."""
    claims: NDArray[np.int8]
    arrivals: NDArray[np.int64] | None = None
    """Ranks, from 0, by which a row came before another; None: all came at once."""
    groups: Ids | None = None
    """Keys of groups that share a split, zeros for a row without one; None: no row has one."""
    roots: Ids | None = None
    """Ids of the pictures whose split these share, being near copies of them; None: of none."""

    @property
    def ranks(self) -> NDArray[np.int64]:
        """Arrivals, 0 where all came at once."""
        return np.zeros(len(self.ids), np.int64) if self.arrivals is None else self.arrivals


@dataclass(frozen=True, slots=True)
class Assignment:
    """Rows of each split, in the order of their ids."""

    rows: tuple[Indices, ...]
    """Train, validation, test."""
    dropped: Dropped


@dataclass(frozen=True, slots=True)
class _Distinct:
    """One row of each different image, by id, with its claim, split and arrival."""

    rows: Indices
    claims: NDArray[np.int8]
    splits: NDArray[np.int8]
    ranks: NDArray[np.int64]
    """Of the copy that came first."""
    keys: Ids
    """What decides on the split: the group's key, else the root's id, else the own."""

    def take(self, places: Indices) -> "_Distinct":
        return _Distinct(
            rows=self.rows[places],
            claims=self.claims[places],
            splits=self.splits[places],
            ranks=self.ranks[places],
            keys=self.keys[places],
        )

    @property
    def precedence(self) -> NDArray[np.int64]:
        """Greatest for the image that stays of those that resizing makes equal.

        Declared test counts as having come first, then what came first; of images that came at
        once: test before validation before train.
        """
        came = np.where(self.claims == Claim.TEST, 0, self.ranks)
        precedence: NDArray[np.int64] = self.splits.astype(np.int64) - len(SPLITS) * came
        return precedence


def assign(pictures: Pictures, data: DataParams) -> Assignment:
    """Assign every image to one split, or drop it.

    Images of one group, or near copies of one root, share the split of its key, or of their
    greatest claim. Copies count once, in the split of their greatest claim. Images with two labels
    are dropped, with all their copies (data.conflicts: refuse raises InputError), as are those that
    a relabelling drops; they decide on the splits of others as if they were kept. Images that
    resizing makes equal count once: the one that came first, so that none moves when others come;
    of those that came at once test before validation before train, then the smallest id. One that
    is declared test counts as having come first. data.limit keeps the smallest ids of each split
    and every image that is declared test.
    """
    copies = group_copies(pictures.ids)
    conflicting = has_two_labels(copies, pictures.labels)
    relabelled = ~conflicting & (pictures.labels[copies.first] == NO_LABEL)
    every = _distinct(pictures, copies, data)
    labelled = every.take(np.flatnonzero(~conflicting & ~relabelled))
    twins = group_copies(pictures.prints[labelled.rows], best_first=labelled.precedence)
    conflicting_twins = has_two_labels(twins, pictures.labels[labelled.rows])
    unlike = labelled.take(np.sort(twins.first[~conflicting_twins]))
    conflicts = int(copies.lengths[conflicting].sum()) + int(twins.lengths[conflicting_twins].sum())
    if conflicts and data.conflicts == "refuse":
        raise InputError(_refusal(conflicts))

    kept = unlike.take(_within_limit(unlike, data.limit))
    moved = [_find_moved_copies(pictures, copies, every, data), _find_moved_twins(labelled, twins)]
    dropped = Dropped(
        duplicates=int((copies.lengths[~conflicting & ~relabelled] - 1).sum()),
        conflicts=conflicts,
        alike=int((twins.lengths[~conflicting_twins] - 1).sum()),
        limited=len(unlike.rows) - len(kept.rows),
        relabelled=int(copies.lengths[relabelled].sum()),
        across_splits=sum(len(some.rows) for some in moved),
        evictions=_evictions(pictures.ids, moved),
    )
    rows = tuple(kept.rows[kept.splits == split] for split in range(len(SPLITS)))
    return Assignment(rows=rows, dropped=dropped)


def picture_splits(pictures: Pictures, data: DataParams) -> tuple[Ids, NDArray[np.int8]]:
    """Return the distinct ids, ascending, and the split in which each picture is kept.

    Labels and data.limit do not count.
    """
    every = _distinct(pictures, group_copies(pictures.ids), data)
    twins = group_copies(pictures.prints[every.rows], best_first=every.precedence)
    kept = np.empty_like(every.splits)
    kept[twins.order] = every.splits[twins.first][twins.group]
    return pictures.ids[every.rows], kept


def picture_keys(pictures: Pictures, data: DataParams) -> tuple[Ids, Ids]:
    """Return the distinct ids, ascending, and the key that decides on each one's split.

    That of its group, else its root's id, else its own: those of one key must stay together.
    """
    every = _distinct(pictures, group_copies(pictures.ids), data)
    return pictures.ids[every.rows], every.keys


def _distinct(pictures: Pictures, copies: Copies, data: DataParams) -> _Distinct:
    claims = np.maximum.reduceat(pictures.claims[copies.order], copies.starts)
    ranks = np.minimum.reduceat(pictures.ranks[copies.order], copies.starts)
    keys = _keys(pictures, copies)
    return _Distinct(
        rows=copies.first,
        claims=claims,
        splits=split_of(keys, _claims_together(keys, claims), data.fractions),
        ranks=ranks,
        keys=keys,
    )


def _keys(pictures: Pictures, copies: Copies) -> Ids:
    """Return the key of each different image, (m, 32).

    That of its group; of an image without one that of its root, which is the root's group or id.
    """
    ids, groups = pictures.ids[copies.first], _groups(pictures, copies)
    grouped = np.any(groups, axis=1, keepdims=True)
    keys = np.where(grouped, groups, ids)
    if pictures.roots is None:
        return keys
    # Ids ascend, and no two begin alike: 8 bytes find them.
    root = np.searchsorted(_beginnings(ids), _beginnings(pictures.roots[copies.first]))
    return np.where(grouped, groups, keys[root])


def _beginnings(ids: Ids) -> NDArray[np.uint64]:
    return np.ascontiguousarray(ids[:, :8]).view(">u8").reshape(-1).astype(np.uint64)


def _groups(pictures: Pictures, copies: Copies) -> Ids:
    """Return the group of each different image's first copy, (m, 32); zeros: it has none.

    Of copies that came at once one with a group goes before, then the smallest key.
    """
    if pictures.groups is None:
        return np.zeros((len(copies.starts), 32), np.uint8)
    rows = copies.order
    groups = pictures.groups[rows]
    start = _beginnings(groups)
    order = np.lexsort([start, start == 0, pictures.ranks[rows], copies.group])
    return groups[order[copies.starts]]


def _claims_together(keys: Ids, claims: NDArray[np.int8]) -> NDArray[np.int8]:
    """Return for each image the greatest claim of all that have its key."""
    together = group_copies(keys)
    greatest = np.empty_like(claims)
    of_each = np.maximum.reduceat(claims[together.order], together.starts)
    greatest[together.order] = of_each[together.group]
    return greatest


def _refusal(conflicts: int) -> str:
    return (
        f"{conflicts} images have copies under another label, and data.conflicts is `refuse`; "
        "correct the labels, or set data.conflicts to `drop`"
    )


def _within_limit(images: _Distinct, limit: int | None) -> Indices:
    """Return the places that the limit keeps, ascending."""
    if limit is None:
        return np.arange(len(images.rows))
    stays = images.claims == Claim.TEST
    for split in range(len(SPLITS)):
        stays[np.flatnonzero(images.splits == split)[:limit]] = True
    return np.flatnonzero(stays)


@dataclass(frozen=True, slots=True)
class _Moved:
    """Rows whose image is kept in another split than their own claim and id give."""

    rows: Indices
    own: NDArray[np.int8]
    kept: NDArray[np.int8]


def _find_moved_copies(
    pictures: Pictures, copies: Copies, every: _Distinct, data: DataParams
) -> _Moved:
    rows, group = copies.order, copies.group
    own = split_of(every.keys[group], pictures.claims[rows], data.fractions)
    kept = every.splits[group]
    moved = np.flatnonzero(own != kept)
    # One for each image and split, however many copies it has there.
    _, unique = np.unique(np.stack([group[moved], own[moved]], axis=1), axis=0, return_index=True)
    places = moved[unique]
    return _Moved(rows[places], own[places], kept[places])


def _find_moved_twins(images: _Distinct, twins: Copies) -> _Moved:
    """Find the images that equal one of another split once resized."""
    kept = images.splits[twins.first][twins.group]
    own = images.splits[twins.order]
    places = np.flatnonzero(own != kept)
    return _Moved(images.rows[twins.order[places]], own[places], kept[places])


def _evictions(ids: Ids, moved: list[_Moved]) -> tuple[Eviction, ...]:
    columns = ((some.rows, some.own, some.kept) for some in moved)
    triples = (triple for column in columns for triple in zip(*column, strict=True))
    return tuple(
        Eviction(id=ids[row].tobytes().hex(), split=SPLITS[own], kept=SPLITS[kept])
        for row, own, kept in islice(triples, _MAX_EVICTIONS)
    )
