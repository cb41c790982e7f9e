"""What more images are worth: a power law through the errors of trials on growing data.

Errors of networks fall as a power of the number of train images over a wide range (Hestness et al.,
2017, arXiv:1712.00409). It is extrapolated here by one step only.
"""

from collections.abc import Sequence

import numpy as np
from scipy import stats

from models.evaluation.records import Interval, LearningCurve
from models.evaluation.uncertainty.intervals import LEVEL

FEWEST_SIZES = 3
"""Different numbers of train images: two always lie on a power law."""
_NO_ERROR = 1e-6


def learning_curve(
    sizes: Sequence[int], errors: Sequence[float], *, before: int, now: int
) -> LearningCurve | None:
    """Estimate how much the error falls from `before` train images to `now`, with its interval.

    sizes, errors: train images and validation error, 0..1, of equal configs; in any order. The
    interval is that of the exponent, by least squares in logarithms (t distribution).
    None with fewer than three different sizes, or where `now` is not more than `before`.
    """
    if len(set(sizes)) < FEWEST_SIZES or now <= before or before < 1:
        return None
    logs, losses = np.log(sizes), np.log(np.maximum(errors, _NO_ERROR))
    fitted = stats.linregress(logs, losses)
    reach = float(stats.t.ppf((1 + LEVEL) / 2, len(sizes) - 2)) * float(fitted.stderr)
    error = float(np.exp(fitted.intercept + fitted.slope * np.log(before)))
    gains = [
        error * (1 - (now / before) ** slope)
        for slope in (fitted.slope + reach, fitted.slope, fitted.slope - reach)
    ]
    return LearningCurve(
        sizes=len(set(sizes)),
        trials=len(sizes),
        gain=gains[1],
        interval=Interval(low=max(gains[0], -1.0), high=min(gains[2], 1.0)),
    )
