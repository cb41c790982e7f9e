"""95 % intervals of the scores of each class, in closed form."""

from collections.abc import Mapping, Sequence

import numpy as np

from models.evaluation.intervals import wilson_bounds
from models.evaluation.outcomes import Floats, Integers
from models.evaluation.records import ClassScores, Interval, PointScores


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
