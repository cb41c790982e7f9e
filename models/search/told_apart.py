"""Which trials validation tells apart from the selected one: paired tests on the same images.

A trial that is 15 images ahead of another, and behind on none, is better, however wide the
intervals of both accuracies are: what both have right or both have wrong says nothing about their
difference (McNemar, 1947, Psychometrika 12:153). The same images selected the trial, and each
trial's epoch, which makes p-values smaller than they should be: whoever is called alike surely is
not told apart, and a narrow difference may be luck still.
"""

from collections.abc import Mapping

import numpy as np

from models.config.trial import Objective
from models.evaluation.outcomes import Predictions, seed_of
from models.evaluation.records import FromBest
from models.gate.paired import holm, mcnemar_p
from models.gate.permutation import cross_entropy_p, f1_macro_p

SIGNIFICANCE = 0.05
"""Probability, at most, that among trials which are alike any is called different (Holm, 1979)."""


def tell_apart(
    best: Predictions, others: Mapping[str, Predictions], by: Objective
) -> dict[str, FromBest]:
    """Compare each of the others with the selected trial, on the same n images in the same order.

    others: key -> predictions. Accuracy: exact McNemar test; macro F1 and cross-entropy: paired
    permutation tests, drawn by a generator that the predictions seed.
    """
    level = SIGNIFICANCE / max(len(others), 1)
    p_values = [p_value(best, other, by, level=level) for other in others.values()]
    different = set(holm(p_values, SIGNIFICANCE))
    return {
        key: FromBest(p_value=p_value, distinguishable=place in different)
        for place, (key, p_value) in enumerate(zip(others, p_values, strict=True))
    }


def p_value(one: Predictions, other: Predictions, by: Objective, *, level: float) -> float:
    """Two-sided p-value of "the two are alike".

    level: the lowest that decides; a p-value above it comes from fewer draws.
    """
    if by == "accuracy":
        ahead, behind = one.right & ~other.right, other.right & ~one.right
        return mcnemar_p(int(ahead.sum()), int(behind.sum()))
    one_sided = _f1_macro_p if by == "f1_macro" else _cross_entropy_p
    return min(1.0, 2 * one_sided(one, other, level=level / 2))


def _cross_entropy_p(one: Predictions, other: Predictions, *, level: float) -> float:
    """One-sided, in the direction that is seen."""
    excess = one.losses - other.losses
    lead = abs(float(excess.sum()))
    squares = float(excess @ excess)
    # Signs drawn at random sum to the lead or more at most so often (Hoeffding, 1963): what is far
    # apart needs no draws, of which a level of one in a thousand takes 20,000.
    bound = float(np.exp(-(lead**2) / (2 * squares))) if squares else 1.0
    if bound <= level:
        return bound
    generator = np.random.default_rng(seed_of(one.losses, other.losses))
    lower = -np.sign(excess.sum()) * excess  # of the better of the two, minus the other's
    return cross_entropy_p(lower, generator, level=level)


def _f1_macro_p(one: Predictions, other: Predictions, *, level: float) -> float:
    """One-sided, in the direction that is seen."""
    for first, second in ((one, other), (other, one)):
        generator = np.random.default_rng(seed_of(first.labels, first.predicted, second.predicted))
        predictions = (first.predicted, second.predicted)
        found = f1_macro_p(first.labels, predictions, generator, level=level)
        if found <= 0.5:
            break
    return found
