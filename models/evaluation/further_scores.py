"""Scores of an evaluation beside those that trials and versions are compared by."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from sklearn import metrics

from models.evaluation.outcomes import Floats, Outcomes, seed_of
from models.evaluation.records import Interval
from models.evaluation.uncertainty.bootstrap import resampled_means
from models.evaluation.uncertainty.drawn_confusions import drawn_confusion_scores
from models.evaluation.uncertainty.intervals import RESAMPLES, holding, percentile_interval, wilson
from models.evaluation.uncertainty.roc_auc import macro_roc_auc, roc_auc_interval


@dataclass(frozen=True, slots=True)
class FurtherScores:
    """Fields of an Evaluation, by name, and their 95 % intervals."""

    values: Mapping[str, float | int]
    intervals: Mapping[str, Interval]


def further_scores(outcomes: Outcomes) -> FurtherScores:
    """Score outcomes that are in their canonical order; what is not defined is left out.

    Intervals: Wilson's of the top-k accuracy, the bootstrap of `resampled_means` of the Brier
    score, smoothed Bayesian bootstraps of the others; seeded by the outcomes.
    """
    values, intervals = _of_confusion(outcomes)
    k = top_k_of(outcomes.probabilities.shape[1])
    if k is not None:
        right = int((ranks(outcomes) < k).sum())
        values |= {"top_k": k, "top_k_accuracy": right / len(outcomes.labels)}
        intervals["top_k_accuracy"] = wilson(right, len(outcomes.labels))
    area = macro_roc_auc(outcomes)
    if area is not None:
        values["roc_auc"], intervals["roc_auc"] = area.value, roc_auc_interval(area)
    distances = np.sort(squared_distances(outcomes))
    draws = resampled_means(
        distances, np.random.default_rng(seed_of(distances)), resamples=RESAMPLES
    )
    values["brier"], intervals["brier"] = float(distances.mean()), percentile_interval(draws)
    return FurtherScores(values=values, intervals=intervals)


def top_k_of(classes: int) -> int | None:
    """Return the k of the top-k accuracy: 5 of more than five classes, 2 of three to five."""
    if classes > 5:
        return 5
    return 2 if classes > 2 else None


def ranks(outcomes: Outcomes) -> np.ndarray:
    """Classes that are named before the true one, (n,): 0 where it is the one predicted.

    Of equally probable classes the first counts, as for the accuracy; scikit-learn's
    top_k_accuracy_score takes the last, and may be below the accuracy.
    """
    table, labels = outcomes.probabilities, outcomes.labels
    own = table[np.arange(len(labels)), labels][:, None]
    earlier = np.arange(table.shape[1]) < labels[:, None]
    return np.asarray(((table > own) | ((table == own) & earlier)).sum(axis=1))


def squared_distances(outcomes: Outcomes) -> Floats:
    """Squared distance of each image's probabilities and truth, (n,); scikit-learn's Brier score
    of all classes, unscaled, is their mean.
    """
    own = outcomes.probabilities[np.arange(len(outcomes.labels)), outcomes.labels]
    return np.asarray((outcomes.probabilities**2).sum(axis=1) - own**2 + (1 - own) ** 2)


def _of_confusion(outcomes: Outcomes) -> tuple[dict[str, float | int], dict[str, Interval]]:
    """Balanced accuracy and Matthews correlation."""
    labels, predicted = outcomes.labels, outcomes.predicted
    seen = np.unique(labels)
    mixed = len(seen) > 1 or bool((predicted != labels).any())
    recalls = metrics.recall_score(labels, predicted, labels=seen, average=None, zero_division=0)
    values: dict[str, float | int] = {
        "balanced_accuracy": float(np.mean(recalls)),
        # Of a single class, true and predicted, scikit-learn says 0 and warns.
        "mcc": float(metrics.matthews_corrcoef(labels, predicted)) if mixed else 0.0,
    }
    drawn = drawn_confusion_scores(
        labels,
        predicted,
        classes=outcomes.probabilities.shape[1],
        generator=np.random.default_rng(seed_of(labels, predicted)),
        resamples=RESAMPLES,
    )
    return values, {
        name: holding(percentile_interval(getattr(drawn, name)), values[name])
        for name in ("balanced_accuracy", "mcc")
    }
