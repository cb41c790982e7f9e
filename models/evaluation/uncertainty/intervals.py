"""Confidence intervals of scores: Wilson for a share, drawn ones for the rest."""

import math
from collections.abc import Mapping, Sequence

import numpy as np
from scipy import stats

from models.evaluation.outcomes import Floats, Integers, Outcomes, seed_of
from models.evaluation.records import ClassScores, Interval, PointScores
from models.evaluation.uncertainty.bootstrap import drawn_f1_macro, resampled_means

RESAMPLES = 1000
LEVEL = 0.95


def score_intervals(outcomes: Outcomes, *, f1_macro: float) -> dict[str, Interval]:
    """95 % intervals: accuracy (Wilson), macro F1 (posterior), cross-entropy (bootstrap).

    Seeded by the outcomes themselves: the same outcomes in the same order, the same intervals.
    """
    seed = seed_of(outcomes.labels, outcomes.predicted, outcomes.losses)
    losses = resampled_means(outcomes.losses, np.random.default_rng(seed), resamples=RESAMPLES)
    return {
        "accuracy": wilson(int(outcomes.right.sum()), len(outcomes.labels)),
        "f1_macro": f1_macro_interval(outcomes, f1_macro=f1_macro),
        "cross_entropy": percentile_interval(losses),
    }


def f1_macro_interval(outcomes: Outcomes, *, f1_macro: float) -> Interval:
    """95 % interval of macro F1, of which it holds the value given."""
    draws = drawn_f1_macro(
        outcomes.labels,
        [outcomes.predicted],
        classes=outcomes.probabilities.shape[1],
        generator=np.random.default_rng(seed_of(outcomes.labels, outcomes.predicted)),
        resamples=RESAMPLES,
    )
    return holding(percentile_interval(draws[0]), f1_macro)


def wilson(right: int, of: int) -> Interval:
    """Wilson's 95 % interval of a share (Brown, Cai & DasGupta, 2001); of must be positive."""
    bounds = stats.binomtest(right, of).proportion_ci(LEVEL, method="wilson")
    return Interval(low=max(float(bounds.low), 0.0), high=min(float(bounds.high), 1.0))


def wilson_bounds(right: Floats, of: Floats) -> Floats:
    """Wilson's 95 % intervals of many shares, (2, m): low and high; of must be positive.

    As `wilson`, of which a thousand take a second: binomtest computes a p-value each time.
    """
    z = float(stats.norm.ppf((1 + LEVEL) / 2))
    centre = (right + z**2 / 2) / (of + z**2)
    reach = z * np.sqrt(right * (of - right) / of + z**2 / 4) / (of + z**2)
    return np.clip(np.stack([centre - reach, centre + reach]), 0, 1)


def newcombe(right: Sequence[int], of: Sequence[int]) -> Interval:
    """95 % interval of the difference of two independent shares, the first minus the second.

    Method 10 of Newcombe (1998, Stat Med 17:873): Wilson's intervals, joined. right, of: two
    numbers each; of must be positive.
    """
    low, high = wilson_bounds(np.asarray(right, np.float64), np.asarray(of, np.float64))
    shares = np.divide(right, of)
    below = math.hypot(shares[0] - low[0], high[1] - shares[1])
    above = math.hypot(high[0] - shares[0], shares[1] - low[1])
    difference = float(shares[0] - shares[1])
    return Interval(low=difference - below, high=difference + above)


def percentile_interval(draws: Floats) -> Interval:
    """Middle 95 % of resampled values."""
    low, high = np.quantile(draws, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return Interval(low=float(low), high=float(high))


def holding(interval: Interval, value: float) -> Interval:
    """Widen the interval to the estimate: a prior draws it away from 0 and from 1."""
    return Interval(low=min(interval.low, value), high=max(interval.high, value))


def with_intervals(points: PointScores) -> tuple[ClassScores, ...]:
    """Add the intervals to the scores of each class.

    Recall and precision are shares, of the class's images and of those named as it: Wilson's
    interval. F1 is 2 s / (1 + s), where s is the share of the right images among those of the class
    or named as it, which is binomial where their number is taken as given; so Wilson's interval of
    s becomes F1's.
    """
    matrix = points.confusion
    right = np.array(matrix.right)
    true, named = np.zeros((2, matrix.classes), dtype=np.int64)
    for truth, predicted, images in matrix.cells:
        true[truth] += images
        named[predicted] += images
    share = _bounds(right, true + named - right)
    found = {
        "precision": _bounds(right, named),
        "recall": _bounds(right, true),
        "f1": 2 * share / (1 + share),
    }
    return tuple(
        one.model_copy(update={"intervals": _of(label, found)})
        for label, one in enumerate(points.per_class)
    )


def _bounds(right: Integers, of: Integers) -> Floats:
    """Low and high, (2, k); NaN where there is nothing of which it is a share."""
    bounds = np.full((2, len(of)), np.nan)
    some = of > 0
    bounds[:, some] = wilson_bounds(right[some].astype(np.float64), of[some].astype(np.float64))
    return bounds


def _of(label: int, found: Mapping[str, Floats]) -> dict[str, Interval]:
    intervals: dict[str, Interval] = {}
    for name, bounds in found.items():
        low, high = _pair(bounds[:, label])
        if not np.isnan(low):
            intervals[name] = Interval(low=low, high=high)
    return intervals


def _pair(values: Sequence[float] | Floats) -> tuple[float, float]:
    return float(values[0]), float(values[1])
