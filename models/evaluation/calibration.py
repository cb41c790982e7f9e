"""Calibration: whether predictions with a confidence of 0.9 are right nine times in ten."""

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.optimize import minimize_scalar
from scipy.special import logsumexp

from models.evaluation.outcomes import Floats, Integers, Outcomes, seed_of

RESAMPLES = 400
"""Draws of a calibrated classifier; the 95th percentile then moves by about 3 % of itself."""


MOST_TEMPERATURE = 20.0
"""The least is its inverse."""


@dataclass(frozen=True, slots=True)
class Reliability:
    """Confidence against accuracy in equal-width bins of confidence."""

    edges: Floats
    """(bins + 1,), from 0 to 1."""
    images: Integers
    """(bins,): images in each bin."""
    confidence: Floats
    """(bins,): mean confidence; NaN in an empty bin."""
    accuracy: Floats
    """(bins,): share right; NaN in an empty bin."""

    @property
    def ece(self) -> float:
        """Mean of |accuracy - confidence| over the bins, weighted by images (Guo et al., 2017)."""
        gaps = np.nan_to_num(np.abs(self.accuracy - self.confidence))
        return float(np.sum(gaps * self.images) / np.sum(self.images))


@dataclass(frozen=True, slots=True)
class CalibrationDiagnosis:
    """Whether and how confidences are off, in words and numbers."""

    kind: str
    """calibrated | overconfident | underconfident | uneven"""
    text: str
    by_chance: float
    """95th percentile of the ECE of a perfectly calibrated classifier on such images."""


def reliability(outcomes: Outcomes, bins: int) -> Reliability:
    """Bin the images by confidence; a bin includes its upper edge, the first one 0 as well."""
    edges = np.linspace(0, 1, bins + 1)
    place = _bin_of(outcomes.confidence, bins)
    images = np.bincount(place, minlength=bins)
    with np.errstate(invalid="ignore"):
        confidence = np.bincount(place, outcomes.confidence, minlength=bins) / images
        accuracy = np.bincount(place, outcomes.right, minlength=bins) / images
    return Reliability(edges=edges, images=images, confidence=confidence, accuracy=accuracy)


def diagnose_calibration(outcomes: Outcomes, bins: int) -> CalibrationDiagnosis:
    """Decide whether the calibration error exceeds chance, and in which direction."""
    ece = reliability(outcomes, bins).ece
    by_chance = _ece_by_chance(outcomes.confidence, bins)
    gap = float(outcomes.confidence.mean() - outcomes.right.mean())
    if ece <= by_chance:
        text = (
            f"Well calibrated: the error of {ece:.3f} is within chance "
            f"(up to {by_chance:.3f} for n = {len(outcomes.labels):,})."
        )
        return CalibrationDiagnosis(kind="calibrated", text=text, by_chance=by_chance)
    kind = _side_of(gap, ece)
    text = (
        f"{kind.capitalize()}: mean confidence {outcomes.confidence.mean():.3f} against an "
        f"accuracy of {outcomes.right.mean():.3f}; the error of {ece:.3f} exceeds "
        f"chance (up to {by_chance:.3f})."
    )
    return CalibrationDiagnosis(kind=kind, text=text, by_chance=by_chance)


def fit_temperature(logits: npt.ArrayLike, labels: npt.ArrayLike) -> float:
    """Return the number that logits are divided by for the least cross-entropy (Guo et al., 2017).

    logits: (n, k), n >= 1;  labels: (n,) in [0, k). One more image, equally of every class, keeps
    it finite where all labels are right, as Platt (1999) does. In [1/20, 20]. Raises ValueError for
    logits that are not finite.
    """
    table, truth = np.asarray(logits, np.float64), np.asarray(labels, np.int64)
    if not np.isfinite(table).all():
        raise ValueError("logits are not finite: no temperature mends that")
    of_truth = table[np.arange(len(truth)), truth].sum() + table.mean()

    def loss(logarithm: float) -> float:
        scale = math.exp(-logarithm)
        normaliser = logsumexp(table * scale, axis=1)
        return float(normaliser.sum() + normaliser.mean() - of_truth * scale) / (len(truth) + 1)

    most = math.log(MOST_TEMPERATURE)
    found = minimize_scalar(loss, bounds=(-most, most), method="bounded", options={"xatol": 1e-7})
    return math.exp(float(found.x))


def _side_of(gap: float, ece: float) -> str:
    if abs(gap) < ece / 2:
        return "uneven"
    return "overconfident" if gap > 0 else "underconfident"


def _bin_of(confidence: Floats, bins: int) -> Integers:
    return np.clip(np.ceil(confidence * bins).astype(np.int64) - 1, 0, bins - 1)


def _ece_by_chance(confidence: Floats, bins: int) -> float:
    """95th percentile of the ECE of a perfectly calibrated classifier with these confidences."""
    generator = np.random.default_rng(seed_of(np.sort(confidence)))
    order = np.sort(confidence)
    place = _bin_of(order, bins)
    expected = np.bincount(place, order, minlength=bins)
    draws = np.empty(RESAMPLES)
    for index in range(RESAMPLES):
        right = generator.random(len(order)) < order
        draws[index] = np.abs(np.bincount(place, right, minlength=bins) - expected).sum()
    return float(np.quantile(draws, 0.95) / len(order))
