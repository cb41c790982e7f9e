"""Clusters of near copies, the units of splitting under `data.near_copies: together`.

Pictures are taken in the order in which they came. One that is a near copy of the root of a cluster
joins it, for life; another begins one. So no cluster is a chain: all of it is near one picture. An
arriving picture changes no older one, and no two clusters are made one.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from models.config import DataParams
from models.datasets.near_duplicates.near_copies import (
    UNEXPLAINED,
    NearCopies,
    Outlines,
    near_copies,
    unexplained,
)
from models.datasets.scanning import Scanned
from models.datasets.split_assignment import Pictures
from models.datasets.splits import Indices, group_copies


def together(scanned: Scanned, data: DataParams) -> Scanned:
    """Return the rows with the roots of their clusters, where data.near_copies wants them."""
    if data.near_copies == "report":
        return scanned
    statistics = scanned.statistics
    pictures = with_roots(scanned.pictures, statistics.outlined, statistics.outlines)
    return replace(scanned, pictures=pictures)


def with_roots(pictures: Pictures, outlined: Indices, outlines: Outlines) -> Pictures:
    """Return pictures with their roots; the outlines are those of the rows `outlined`."""
    order = _order(pictures, outlined)
    rows = outlined[order]
    roots = cluster(outlines[order], pictures.ranks[rows])
    copies = group_copies(pictures.ids)
    of_first = pictures.ids[copies.first]
    number = np.empty(len(pictures.ids), np.int64)
    number[copies.order] = copies.group
    of_first[number[rows]] = pictures.ids[rows[roots]]
    return replace(pictures, roots=of_first[number])


def cluster(outlines: Outlines, ranks: NDArray[np.int64]) -> Indices:
    """Return the place of each picture's root, itself or an earlier one.

    outlines: (n, 16, 16), in the order in which they came; ranks: (n,), ascending; of one rank are
    those that came at once, which are searched for together.
    """
    roots = np.arange(len(outlines))
    for end in np.flatnonzero(np.diff(ranks, append=-1)) + 1:
        start = int(np.searchsorted(ranks, ranks[end - 1]))
        found = near_copies(outlines[:end], np.arange(start, end))
        for later, earlier in _neighbours(found):
            roots[later] = _root_of(later, earlier, roots, outlines)
    return roots


@dataclass(frozen=True, slots=True)
class _Earlier:
    """Earlier near copies of a picture, and what of one is not explained by the other."""

    places: Indices
    remaining: NDArray[np.float64]


def _neighbours(found: NearCopies) -> Iterator[tuple[int, _Earlier]]:
    """Yield each picture that has earlier near copies, in order."""
    if not len(found.first):
        return
    later, earlier = np.maximum(found.first, found.second), np.minimum(found.first, found.second)
    order = np.lexsort([found.remaining, earlier, later])
    pictures, starts = np.unique(later[order], return_index=True)
    for picture, part in zip(pictures.tolist(), np.split(order, starts[1:]), strict=True):
        yield picture, _Earlier(earlier[part], found.remaining[part])


def _root_of(later: int, earlier: _Earlier, roots: Indices, outlines: Outlines) -> int:
    """Return the nearest root that the picture is a near copy of, else itself."""
    are_roots = roots[earlier.places] == earlier.places
    if are_roots.any():
        best = np.argmin(np.where(are_roots, earlier.remaining, np.inf))
        return int(earlier.places[best])
    asked = np.unique(roots[earlier.places])
    mine = np.repeat(outlines[later : later + 1], len(asked), axis=0)
    shares = unexplained(mine, outlines[asked])
    nearest = int(np.argmin(shares))
    return int(asked[nearest]) if shares[nearest] <= UNEXPLAINED else later


def _order(pictures: Pictures, outlined: Indices) -> Indices:
    """Order outlined rows by arrival, then by the end of their ids; of copies the first remains.

    The end: the beginning decides on splits, and roots of small beginnings would all be in test.
    """
    ids = pictures.ids[outlined]
    ends = np.ascontiguousarray(ids[:, 24:]).view(">u8").reshape(-1).astype(np.uint64)
    order = np.lexsort([ends, pictures.ranks[outlined]])
    _, first = np.unique(ends[order], return_index=True)
    return order[np.sort(first)]
