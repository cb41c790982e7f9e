"""Which rows become which split's images: copies, conflicts and limits have their answers here."""

from dataclasses import dataclass
from itertools import islice

import numpy as np
from numpy.typing import NDArray

from models.config import DataParams
from models.datasets.labelled_images import SPLITS, Labels
from models.datasets.prepared import Dropped, Eviction
from models.datasets.splits import Claim, Copies, Ids, Indices, group_copies, split_of
from models.errors import InputError

_LISTED = 1000


@dataclass(frozen=True, slots=True)
class Pictures:
    """What is known of every row of the batches, but for its pixels."""

    ids: Ids
    """Of the decoded pictures."""
    prints: Ids
    """Ids of the pictures as prepared: equal where resizing made two pictures one."""
    labels: Labels
    claims: NDArray[np.int8]


@dataclass(frozen=True, slots=True)
class Assignment:
    """Rows of each split, in the order of their ids."""

    rows: tuple[Indices, ...]
    """Train, validation, test."""
    dropped: Dropped


@dataclass(frozen=True, slots=True)
class _Once:
    """One row of each picture, by id, and where it belongs."""

    rows: Indices
    claims: NDArray[np.int8]
    splits: NDArray[np.int8]

    def take(self, places: Indices) -> "_Once":
        return _Once(self.rows[places], self.claims[places], self.splits[places])


def assign(pictures: Pictures, data: DataParams) -> Assignment:
    """Give every picture one split, or drop it.

    Copies count once, in the split of their greatest claim. Pictures with two labels go, all copies
    of them (data.conflicts: refuse raises InputError). What became equal by resizing counts once:
    test before validation before train, then the smallest id. data.limit keeps the smallest ids
    of each split and every image that is declared test.
    """
    copies = group_copies(pictures.ids)
    torn = _two_labels(copies, pictures.labels)
    every = _once(pictures, copies, data)
    once = every.take(np.flatnonzero(~torn))
    twins = group_copies(pictures.prints[once.rows], best_first=once.splits)
    twins_torn = _two_labels(twins, pictures.labels[once.rows])
    unlike = once.take(np.sort(twins.first[~twins_torn]))
    conflicts = int(copies.lengths[torn].sum()) + int(twins.lengths[twins_torn].sum())
    if conflicts and data.conflicts == "refuse":
        raise InputError(_refusal(conflicts))

    kept = unlike.take(_within_limit(unlike, data.limit))
    moved = [_moved_copies(pictures, copies, every.splits, data), _moved_twins(once, twins)]
    dropped = Dropped(
        duplicates=int((copies.lengths[~torn] - 1).sum()),
        conflicts=conflicts,
        alike=int((twins.lengths[~twins_torn] - 1).sum()),
        limited=len(unlike.rows) - len(kept.rows),
        across_splits=sum(len(some.rows) for some in moved),
        evictions=_listed(pictures.ids, moved),
    )
    return Assignment(
        rows=tuple(kept.rows[kept.splits == split] for split in range(len(SPLITS))), dropped=dropped
    )


def _once(pictures: Pictures, copies: Copies, data: DataParams) -> _Once:
    claims = np.maximum.reduceat(pictures.claims[copies.order], copies.starts)
    rows = copies.first
    return _Once(rows, claims, split_of(pictures.ids[rows], claims, data.fractions))


def _two_labels(copies: Copies, labels: Labels) -> NDArray[np.bool_]:
    """Say of each group whether its rows have more than one label."""
    ordered = labels[copies.order]
    lowest = np.minimum.reduceat(ordered, copies.starts)
    differ: NDArray[np.bool_] = lowest != np.maximum.reduceat(ordered, copies.starts)
    return differ


def _refusal(conflicts: int) -> str:
    return (
        f"{conflicts} images show a picture that also stands under another label, and "
        "data.conflicts is `refuse`; correct the labels, or set data.conflicts to `drop`"
    )


def _within_limit(once: _Once, limit: int | None) -> Indices:
    """Return the places that stay, ascending."""
    if limit is None:
        return np.arange(len(once.rows))
    stays = once.claims == Claim.TEST
    for split in range(len(SPLITS)):
        stays[np.flatnonzero(once.splits == split)[:limit]] = True
    return np.flatnonzero(stays)


@dataclass(frozen=True, slots=True)
class _Moved:
    """Rows whose picture stays in another split than they would have put it."""

    rows: Indices
    own: NDArray[np.int8]
    kept: NDArray[np.int8]


def _moved_copies(
    pictures: Pictures, copies: Copies, splits: NDArray[np.int8], data: DataParams
) -> _Moved:
    """Find the pictures that some row, on its own claim, would have put elsewhere."""
    rows, group = copies.order, copies.group
    own = split_of(pictures.ids[rows], pictures.claims[rows], data.fractions)
    kept = splits[group]
    moved = np.flatnonzero(own != kept)
    # One for each picture and split, however many copies it has there.
    _, unique = np.unique(np.stack([group[moved], own[moved]], axis=1), axis=0, return_index=True)
    places = moved[unique]
    return _Moved(rows[places], own[places], kept[places])


def _moved_twins(once: _Once, twins: Copies) -> _Moved:
    """Find the pictures that equal one of another split once resized."""
    kept = once.splits[twins.first][twins.group]
    own = once.splits[twins.order]
    places = np.flatnonzero(own != kept)
    return _Moved(once.rows[twins.order[places]], own[places], kept[places])


def _listed(ids: Ids, moved: list[_Moved]) -> tuple[Eviction, ...]:
    columns = ((some.rows, some.own, some.kept) for some in moved)
    triples = (triple for column in columns for triple in zip(*column, strict=True))
    return tuple(
        Eviction(id=ids[row].tobytes().hex(), split=SPLITS[own], kept=SPLITS[kept])
        for row, own, kept in islice(triples, _LISTED)
    )
