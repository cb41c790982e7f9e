"""Fit a power law to trials on growing parts of the train split, and check it on the largest."""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import stats

from models.evaluation.data_value.power_law import FEWEST_SIZES, PowerLaw
from models.evaluation.data_value.records import HeldOut
from models.evaluation.outcomes import Floats
from models.evaluation.uncertainty.intervals import LEVEL

FEWEST_TRIALS = 2
"""Of each size: a single one says nothing of how much trainings differ."""
_LEAST_DISPERSION = 0.1
"""Least variance between trials, as a share of the binomial one of their images: where all trials
happen to agree, the next one may not."""


@dataclass(frozen=True, slots=True)
class Trials:
    """Trials of one config on equally many train images."""

    images: float
    """Train images; the mean where draws differ."""
    wrong: npt.NDArray[np.bool_]
    """(trials, m): whether each got each of the same m validation images wrong."""


def fit_power_law(sizes: Sequence[Trials], *, falls: bool = True) -> PowerLaw:
    """Fit errors of at least three sizes, each with at least two trials on the same images.

    The covariance of the mean errors is that of the images, which all trials share, and beside it
    what trials of one size differ by: pooled over sizes as a multiple of e (1 - e), with e drawn
    towards 1/2 by two images, so that no error at all is not taken for certainty. Raises ValueError
    for fewer sizes or trials, sizes that do not ascend, and images that differ in number.
    """
    _check(sizes)
    shares = [one.wrong.mean(axis=0) for one in sizes]
    images = sizes[0].wrong.shape[1]
    pulled = np.array([(share.sum() + 1) / (images + 2) for share in shares])
    binomial = pulled * (1 - pulled) / images
    trials = np.array([len(one.wrong) for one in sizes])
    dispersion, freedom = _dispersion(sizes, binomial)
    noise = max(dispersion, _LEAST_DISPERSION) * binomial
    plain = np.array([float(share.mean()) for share in shares])
    unseen = np.maximum(binomial - plain * (1 - plain) / images, 0)
    by_images = np.cov(np.stack(shares), bias=True) / images
    covariance = by_images + np.diag(unseen + noise / trials)
    return PowerLaw(
        sizes=tuple(float(one.images) for one in sizes),
        errors=tuple(plain.tolist()),
        covariance=tuple(tuple(map(float, row)) for row in covariance),
        threshold=float(stats.t.ppf((1 + LEVEL) / 2, freedom)) ** 2,
        noise=max(dispersion, _LEAST_DISPERSION) / images,
        falls=falls,
    )


def hold_out(sizes: Sequence[Trials], *, falls: bool = True) -> HeldOut | None:
    """Predict the largest size from the others; None where these are fewer than three."""
    if len(sizes) <= FEWEST_SIZES:
        return None
    *smaller, largest = sizes
    law = fit_power_law(smaller, falls=falls)
    return HeldOut(
        images=largest.images,
        predicted=law.mean_of(len(largest.wrong), images=largest.images),
        found=float(largest.wrong.mean()),
    )


def of_class(sizes: Sequence[Trials], labels: npt.NDArray[np.int64], label: int) -> list[Trials]:
    """Return the same trials on the validation images of one class; labels: (m,)."""
    return [Trials(one.images, one.wrong[:, labels == label]) for one in sizes]


def _dispersion(sizes: Sequence[Trials], binomial: Floats) -> tuple[float, int]:
    """Variance between trials of one size, over the binomial one, and its degrees of freedom."""
    each = [len(one.wrong) - 1 for one in sizes]
    ratios = [
        float(one.wrong.mean(axis=1).var(ddof=1)) / unit
        for one, unit in zip(sizes, binomial.tolist(), strict=True)
    ]
    return float(np.average(ratios, weights=each)), sum(each)


def _check(sizes: Sequence[Trials]) -> None:
    images = [one.images for one in sizes]
    if len(sizes) < FEWEST_SIZES or any(b <= a for a, b in itertools.pairwise(images)):
        raise ValueError(f"sizes {images}: at least {FEWEST_SIZES}, ascending, are needed")
    shapes = {one.wrong.shape for one in sizes}
    if len({shape[1] for shape in shapes}) > 1 or min(shapes)[0] < FEWEST_TRIALS:
        raise ValueError(
            f"trials and images {sorted(shapes)}: at least {FEWEST_TRIALS} trials of each size on "
            "the same images are needed"
        )
    if sizes[0].wrong.shape[1] == 0:
        raise ValueError("no validation images: nothing can be said")
