"""Statistics of two classifiers on the same images; differences are challenger - champion."""

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy import optimize, stats

from models.evaluation.outcomes import Floats
from models.evaluation.records import Interval, Lead

POWER = 0.8


def mcnemar_p(challenger_only: int, champion_only: int) -> float:
    """Two-sided p-value of the exact McNemar test of images that only one of the two has right.

    Either side of a two-sided test at 5 % is a one-sided test at 2.5 %, the highest rate at which
    one look finds a challenger better that is not. Without any such image the p-value is 1.
    """
    either = challenger_only + champion_only
    return float(stats.binomtest(challenger_only, either, 0.5).pvalue) if either else 1.0


def tango_z(challenger_only: int, champion_only: int, images: int, *, difference: float) -> float:
    """Score statistic of "the accuracies differ by difference" (Tango, 1998, Stat Med 17:891).

    Standard normal under that hypothesis, higher where the challenger is better. With a difference
    of 0 it is McNemar's (b - c) / sqrt(b + c).
    """
    b, c, n, d = challenger_only, champion_only, images, difference
    linear = -b - c + (2 * n - b + c) * d
    constant = -c * d * (1 - d)
    # Share of champion-only images that is likeliest under the hypothesis.
    share = (math.sqrt(max(linear**2 - 8 * n * constant, 0)) - linear) / (4 * n)
    variance = n * (2 * share + d * (1 - d))
    lead = b - c - n * d
    return (
        lead / math.sqrt(variance) if variance > 0 else math.copysign(math.inf, lead) * (lead != 0)
    )


def tango_interval(
    challenger_only: int, champion_only: int, images: int, *, significance: float
) -> tuple[float, float]:
    """Differences of accuracy that the score test does not refuse at the significance."""
    reach = float(stats.norm.isf(significance / 2))

    def bound(z: float) -> float:
        def excess(difference: float) -> float:
            return tango_z(challenger_only, champion_only, images, difference=difference) - z

        edge = 1 - 1e-9
        if excess(-edge) <= 0:
            return -1.0
        if excess(edge) >= 0:
            return 1.0
        return float(optimize.brentq(excess, -edge, edge, xtol=1e-9))

    return bound(reach), bound(-reach)


def lead_of(right: NDArray[np.bool_], other: NDArray[np.bool_]) -> Lead:
    """Compare two classifiers by which of the same images each has right, (n,) with n >= 1."""
    ahead, behind, images = int((right & ~other).sum()), int((other & ~right).sum()), len(right)
    low, high = tango_interval(ahead, behind, images, significance=0.05)
    return Lead(
        images=images,
        ahead=ahead,
        behind=behind,
        accuracy=(ahead - behind) / images,
        interval=Interval(low=low, high=high),
        p_value=mcnemar_p(ahead, behind),
    )


def holm(p_values: Sequence[float], significance: float) -> list[int]:
    """Indices of the hypotheses refused by Holm's step-down: one false one among all at most
    with probability significance, however they depend (Holm, 1979).
    """
    order = sorted(range(len(p_values)), key=lambda index: p_values[index])
    refused: list[int] = []
    for step, index in enumerate(order):
        if p_values[index] > significance / (len(p_values) - step):
            break
        refused.append(index)
    return refused


def detectable_lead(images: int, differing: float, *, significance: float) -> float:
    """True lead in accuracy that is detected on these images with 80 % power; at most 1.

    significance: two-sided; at 0 nothing is ever detected.
    """
    # At least half an image: of identical classifiers the result would be 0.
    error = math.sqrt(max(differing, 0.5 / images) / images)
    return min(detectable_difference(error, significance=significance), 1.0)


def detectable_difference(error: float, *, significance: float) -> float:
    """True difference that is detected with 80 % power by an estimate with this standard error.

    significance: two-sided; at 0 nothing is ever detected, and the result is infinite.
    """
    if significance == 0:
        return math.inf
    return float(stats.norm.isf(significance / 2) + stats.norm.ppf(POWER)) * error


def standard_error(width: float, *, significance: float) -> float:
    """Standard error of an estimate whose interval at the significance, two-sided, is so wide."""
    return width / 2 / float(stats.norm.isf(significance / 2))


def quantiles(draws: Floats, significance: float) -> tuple[float, float]:
    """Middle 1 - significance of resampled differences."""
    low, high = np.quantile(draws, [significance / 2, 1 - significance / 2])
    return float(low), float(high)
