"""Slices of a split: which images are in each. What a version says of them plays no part."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from models.datasets.sources.origins import Origins
from models.evaluation.outcomes import Floats, Integers
from models.evaluation.slices.records import SliceKind, SliceReport
from models.monitoring.sample import grey_levels

PARTS = 4
"""Ranges into which the images are cut by a number of theirs, of about as many images each."""


@dataclass(frozen=True, slots=True)
class Slice:
    """Some images of a split of n."""

    kind: SliceKind
    name: str
    rows: Integers
    """(m,), ascending, in [0, n); m >= 1."""
    edges: tuple[float, float] | None = None
    """Lowest and highest value in it, of a range; the lower belongs to the range below, but for
    the lowest range."""

    @property
    def label(self) -> str:
        """Kind and name, for people."""
        return f"{self.kind} {self.name}"


@dataclass(frozen=True, slots=True)
class Sliced:
    """Scores of slices, and which images are in them."""

    report: SliceReport
    slices: tuple[Slice, ...]
    """All that there are, tested or not."""


def all_slices(
    images: NDArray[np.uint8],
    labels: Integers,
    *,
    classes: Sequence[str],
    origins: Origins | None,
) -> list[Slice]:
    """Slices by class and by what is known of the n images without any network.

    images: (n, channels, height, width), perhaps memory-mapped;  labels: (n,), into classes.
    """
    by_class = slices_by_name("class", [classes[label] for label in labels])
    return [*by_class, *slices_by_facts(images, origins)]


def slices_by_facts(images: NDArray[np.uint8], origins: Origins | None) -> list[Slice]:
    """Slices by brightness and contrast as the network sees the images, and by their origins."""
    brightness, contrast = grey_levels(images)
    found = [
        *slices_by_quantiles("brightness", brightness),
        *slices_by_quantiles("contrast", contrast),
    ]
    if origins is not None:
        found += slices_by_quantiles("size", np.sqrt(origins.sizes.prod(axis=1, dtype=np.float64)))
        found += slices_by_name("batch", origins.batches)
        found += slices_by_name("group", origins.groups)
    return found


def slices_by_name(kind: SliceKind, names: Sequence[str | None]) -> list[Slice]:
    """One slice a name, in the order of the names; images without one are in none.

    None at all where one name has every image: there is nothing to compare it with.
    """
    rows: dict[str, list[int]] = {}
    for row, name in enumerate(names):
        if name is not None:
            rows.setdefault(name, []).append(row)
    if any(len(some) == len(names) for some in rows.values()):
        return []
    return [Slice(kind, name, np.array(rows[name], np.int64)) for name in sorted(rows)]


def slices_by_quantiles(kind: SliceKind, values: Floats) -> list[Slice]:
    """Cut n images into ranges by the quartiles of their values, (n,), lowest first.

    Edges are values of images; equal values are in one range, so that there may be fewer than
    four, and none at all where all values are equal. Every image is in exactly one range.
    """
    shares = np.arange(1, PARTS) / PARTS
    cuts = np.unique(np.quantile(values, shares, method="inverted_cdf"))
    place = np.searchsorted(cuts, values, side="left")
    edges = [float(values.min()), *map(float, cuts), float(values.max())]
    members = [np.flatnonzero(place == number) for number in range(len(cuts) + 1)]
    kept = [(number, rows) for number, rows in enumerate(members) if len(rows)]
    if len(kept) < 2:
        return []
    ranges = [(edges[number], edges[number + 1]) for number, _ in kept]
    return [
        Slice(kind, name, rows, edges=pair)
        for (_, rows), pair, name in zip(kept, ranges, _names(ranges), strict=True)
    ]


def _names(ranges: Sequence[tuple[float, float]]) -> Iterator[str]:
    """The lowest and the highest range are open: new images may lie beyond."""
    last = len(ranges) - 1
    for number, (low, high) in enumerate(ranges):
        parts = (
            "" if number == 0 else f"> {low:.4g}",
            "" if number == last else f"<= {high:.4g}",
        )
        yield ", ".join(part for part in parts if part)
