"""Each slice against the rest of the test images, with multiplicity handled across all slices."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from models.evaluation.outcomes import Integers
from models.evaluation.records import Interval
from models.evaluation.slices.membership import Slice
from models.evaluation.slices.records import FEWEST, SIGNIFICANCE, SliceReport, SliceScore
from models.evaluation.uncertainty.intervals import holding, newcombe, wilson_bounds
from models.gate.paired import holm

MOST_OF_A_KIND = 100
"""Slices of one kind that are tested, the largest: of a thousand groups each would need a
difference that a few dozen images cannot show."""


def _kind(one: Slice) -> str:
    return one.kind


@dataclass(frozen=True, slots=True)
class _Counted:
    """A slice with its right images, and the interval of their share."""

    slice: Slice
    inside: int
    interval: Interval

    def score(self, right: NDArray[np.bool_], *, p_value: float, distinct: bool) -> SliceScore:
        """Compare it with all other images."""
        size, outside = len(self.slice.rows), int(right.sum()) - self.inside
        rest = len(right) - size
        low, high = self.slice.edges or (None, None)
        difference = self.inside / size - outside / rest
        between = newcombe((self.inside, outside), (size, rest))
        return SliceScore(
            kind=self.slice.kind,
            name=self.slice.name,
            low=low,
            high=high,
            images=size,
            right=self.inside,
            accuracy=self.inside / size,
            interval=holding(self.interval, self.inside / size),  # rounding alone
            difference=difference,
            difference_interval=holding(between, difference),
            p_value=p_value,
            distinct=distinct,
        )


def score_slices(right: NDArray[np.bool_], slices: Sequence[Slice]) -> SliceReport:
    """Test whether a classifier is worse on each slice of n images than on the others.

    right: (n,), n >= 1: whether each image is right. Which slices there are, and how large, must
    not depend on it. The test is Fisher's exact one, one-sided: that of all ways to deal out the
    mistakes, with Holm's correction over all slices, which may overlap as they like. It holds for
    independent images; of many near copies p-values are too small.
    """
    kept, small, beyond = _chosen(slices, len(right))
    inside = np.array([int(right[one.rows].sum()) for one in kept], np.int64)
    sizes = np.array([len(one.rows) for one in kept], np.int64)
    p_values = worse_p(inside, sizes, right=int(right.sum()), images=len(right))
    worse = set(holm(p_values, SIGNIFICANCE))
    bounds = wilson_bounds(inside.astype(np.float64), sizes.astype(np.float64)).T
    scores = [
        _Counted(one, int(inside[place]), Interval(low=float(low), high=float(high))).score(
            right, p_value=p_values[place], distinct=place in worse
        )
        for place, (one, (low, high)) in enumerate(zip(kept, bounds, strict=True))
    ]
    return SliceReport(
        images=len(right),
        accuracy=float(right.mean()),
        slices=tuple(sorted(scores, key=lambda one: (not one.distinct, one.difference, one.label))),
        small=small,
        beyond=beyond,
    )


def worse_p(inside: Integers, sizes: Integers, *, right: int, images: int) -> list[float]:
    """One-sided p-values of Fisher's exact test, (m,): few are right in a slice as it was.

    inside, sizes: (m,): right images of each slice, and all of it;  right, images: of the split.
    """
    found = stats.hypergeom.cdf(inside, images, right, sizes)
    return [min(float(value), 1.0) for value in found]


def _chosen(slices: Sequence[Slice], images: int) -> tuple[list[Slice], int, int]:
    """Slices to test, in their order; how many are too small, and how many too many."""
    large = [one for one in slices if FEWEST <= len(one.rows) <= images - FEWEST]
    kept: list[Slice] = []
    for _, group in groupby(sorted(large, key=_kind), key=_kind):
        ranked = sorted(group, key=lambda one: (-len(one.rows), one.name))
        kept += ranked[:MOST_OF_A_KIND]
    return kept, len(slices) - len(large), len(large) - len(kept)
