"""Scores of class probabilities against true labels; scikit-learn computes what it can."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from sklearn import metrics

from models.evaluation.calibration import reliability
from models.evaluation.confusion import ConfusionMatrix
from models.evaluation.further_scores import further_scores
from models.evaluation.outcomes import Outcomes, canonical, outcomes_of
from models.evaluation.records import ClassScores, Evaluation, PointScores
from models.evaluation.uncertainty.intervals import score_intervals, with_intervals


def evaluate(
    probabilities: npt.ArrayLike, labels: npt.ArrayLike, *, classes: Sequence[str], bins: int
) -> Evaluation:
    """Score probabilities (n, k) against labels (n,) in [0, k), with 95 % intervals.

    The order of the images changes nothing, not a bit.
    bins: equal-width confidence bins of the calibration error.
    Raises ValueError for no images, shapes that do not fit, labels outside the classes, and
    probabilities that are not finite or do not sum to 1.
    """
    outcomes = canonical(outcomes_of(probabilities, labels))
    points = score(outcomes, classes=classes, bins=bins)
    further = further_scores(outcomes)
    intervals = score_intervals(outcomes, f1_macro=points.f1_macro) | dict(further.intervals)
    fields = {**dict(points), **further.values, "per_class": with_intervals(points)}
    return Evaluation.model_validate(fields | {"intervals": intervals})


def score(outcomes: Outcomes, *, classes: Sequence[str], bins: int) -> PointScores:
    """Score without intervals. Raises ValueError where classes are not those of the columns."""
    if len(classes) != outcomes.probabilities.shape[1]:
        raise ValueError(
            f"{len(classes)} class names for {outcomes.probabilities.shape[1]} columns of "
            "probabilities: there must be one for each"
        )
    truth, predicted = outcomes.labels, outcomes.predicted
    per_class = _class_scores(outcomes, classes)
    f1 = np.array([scores.f1 for scores in per_class])
    support = np.array([scores.support for scores in per_class])
    return PointScores(
        accuracy=float(metrics.accuracy_score(truth, predicted)),
        f1_macro=float(f1[support > 0].mean()),
        f1_weighted=float(f1 @ support / len(truth)),
        cross_entropy=float(
            metrics.log_loss(truth, outcomes.probabilities, labels=np.arange(len(classes)))
        ),
        ece=reliability(outcomes, bins).ece,
        n=len(truth),
        per_class=per_class,
        confusion=_confusion(outcomes, len(classes)),
    )


def _confusion(outcomes: Outcomes, classes: int) -> ConfusionMatrix:
    pairs = np.stack([outcomes.labels, outcomes.predicted], axis=1)
    cells, images = np.unique(pairs, axis=0, return_counts=True)
    rows = np.column_stack([cells, images]).tolist()
    return ConfusionMatrix(classes=classes, cells=tuple((t, p, count) for t, p, count in rows))


def f1_macro(labels: npt.NDArray[np.integer], predicted: npt.NDArray[np.integer]) -> float:
    """Unweighted mean of F1 over the classes that have images; labels and predicted: (n,).

    A class without images has no F1 of its own: an image that is taken for one counts as missed by
    its true class. So the mean is over the same classes for all who predict the same images.
    """
    classes = int(max(labels.max(), predicted.max())) + 1
    right, true, named = (
        np.bincount(one, minlength=classes)
        for one in (labels[labels == predicted], labels, predicted)
    )
    seen = true > 0
    return float((2 * right[seen] / (true + named)[seen]).mean())


def _class_scores(outcomes: Outcomes, classes: Sequence[str]) -> tuple[ClassScores, ...]:
    columns = metrics.precision_recall_fscore_support(
        outcomes.labels, outcomes.predicted, labels=np.arange(len(classes)), zero_division=0
    )
    return tuple(
        ClassScores(
            name=name,
            precision=float(precision),
            recall=float(recall),
            f1=float(f1),
            support=int(support),
        )
        for name, precision, recall, f1, support in zip(classes, *columns, strict=True)
    )
