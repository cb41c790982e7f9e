"""Confidence intervals of scores: Wilson for a share, bootstrap for the rest."""

import numpy as np
from scipy import stats

from models.evaluation.bootstrap import resampled_f1, resampled_means
from models.evaluation.outcomes import Floats, Outcomes, seed_of
from models.evaluation.records import Interval

RESAMPLES = 1000
LEVEL = 0.95


def score_intervals(outcomes: Outcomes) -> dict[str, Interval]:
    """95 % intervals of accuracy (Wilson), macro F1 and cross-entropy (bootstrap percentiles).

    Seeded by the outcomes themselves: the same outcomes in the same order, the same intervals.
    """
    seed = seed_of(outcomes.labels, outcomes.predicted, outcomes.losses)
    generator = np.random.default_rng(seed)
    f1 = resampled_f1(
        outcomes.labels,
        [outcomes.predicted],
        classes=outcomes.probabilities.shape[1],
        generator=generator,
        resamples=RESAMPLES,
    )
    losses = resampled_means(outcomes.losses, generator, resamples=RESAMPLES)
    return {
        "accuracy": wilson(int(outcomes.right.sum()), len(outcomes.labels)),
        "f1_macro": percentile_interval(f1[0].mean(axis=1)),
        "cross_entropy": percentile_interval(losses),
    }


def wilson(right: int, of: int) -> Interval:
    """Wilson's score interval of a share (Brown, Cai & DasGupta, 2001); of must be positive."""
    bounds = stats.binomtest(right, of).proportion_ci(LEVEL, method="wilson")
    return Interval(low=max(float(bounds.low), 0.0), high=min(float(bounds.high), 1.0))


def percentile_interval(draws: Floats) -> Interval:
    """Middle 95 % of resampled values."""
    low, high = np.quantile(draws, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return Interval(low=float(low), high=float(high))
