"""How many labels are wrong, and what correcting them may bring: estimates from the joint."""

from collections.abc import Sequence

import numpy as np

from models.evaluation.outcomes import Floats
from models.evaluation.records import Interval
from models.evaluation.uncertainty.intervals import holding, wilson, wilson_bounds
from models.monitoring.labels.confident_learning import Suspicion
from models.monitoring.labels.records import ClassNoise, Evidence, NoiseEstimate

UNKNOWN = (
    "What it cannot know: an image that is merely hard looks like a fault, a fault that the "
    "network makes itself does not, and intervals are of the sampling alone. What correcting train "
    "brings in accuracy is unmeasured until a retraining on the new labels was compared by the gate"
)


def estimate_noise(
    suspicion: Suspicion, classes: Sequence[str], evidence: Evidence
) -> NoiseEstimate:
    """Estimate the share of wrong labels, of each class and of all, with 95 % intervals.

    Of a class: the share off the diagonal in its row of the confident joint, as if the images that
    are not counted were wrong as often (the calibrated joint of Northcutt et al., 2021). Of all:
    the mean weighted by images.
    """
    counted = suspicion.joint.sum(axis=1)
    off = counted - suspicion.joint.diagonal()
    images = np.bincount(suspicion.labels, minlength=len(classes))
    likely = np.bincount(suspicion.labels[suspicion.likely], minlength=len(classes))
    rates = np.divide(off, counted, out=np.zeros(len(classes)), where=counted > 0)
    low, high = _bounds(off, counted)
    rate = float((rates * images).sum() / images.sum())
    return NoiseEstimate(
        evidence=evidence,
        images=len(suspicion.labels),
        errors=int(suspicion.contradicted.sum()),
        likely=int(suspicion.likely.sum()),
        rate=rate,
        interval=_overall(rate, int(off.sum()), int(counted.sum())),
        classes=tuple(
            ClassNoise(
                name=name,
                images=int(images[place]),
                rate=float(rates[place]),
                interval=Interval(low=float(low[place]), high=float(high[place])),
                likely=int(likely[place]),
            )
            for place, name in enumerate(classes)
        ),
    )


def _bounds(off: Floats, counted: Floats) -> Floats:
    """Wilson's bounds, (2, k); 0 to 1 where nothing was counted."""
    bounds = np.stack([np.zeros(len(off)), np.ones(len(off))])
    some = counted > 0
    bounds[:, some] = wilson_bounds(off[some].astype(float), counted[some].astype(float))
    return bounds


def _overall(rate: float, off: int, counted: int) -> Interval:
    """Interval of the weighted mean, about as wide as that of the plain share."""
    if not counted:
        return Interval(low=0.0, high=1.0)
    shift = rate - off / counted
    plain = wilson(off, counted)
    moved = Interval(low=max(plain.low + shift, 0.0), high=min(plain.high + shift, 1.0))
    return holding(moved, rate)


def forecast_gain(noise: Sequence[NoiseEstimate]) -> tuple[str, ...]:
    """Say what correcting the likely faults may bring, and what cannot be known."""
    return (*(_sentence(one) for one in noise), UNKNOWN)


def _sentence(noise: NoiseEstimate) -> str:
    where = "Train and validation" if noise.evidence == "cross-validated" else "Test"
    low, high = 100 * noise.interval.low, 100 * noise.interval.high
    text = (
        f"{where}: about {100 * noise.rate:.1f} % of {noise.images:,} labels are wrong "
        f"[{low:.1f}, {high:.1f}]; {noise.likely:,} are likely faults"
    )
    if noise.evidence == "cross-validated" or not noise.likely:
        return text
    share, interval = noise.likely / noise.errors, wilson(noise.likely, noise.errors)
    low, high = 100 * interval.low, 100 * interval.high
    return (
        f"{text}, among {noise.errors:,} test errors "
        f"({100 * share:.0f} % [{low:.0f}, {high:.0f}]), so that accuracy by corrected labels is "
        f"at most {noise.corrected:.4f} instead of {noise.accuracy:.4f}; that is another "
        "yardstick, no better network"
    )
