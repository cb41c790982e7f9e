"""What the gate is given, and what it answers."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from models.config.base import Record
from models.config.policies import Verdict
from models.evaluation.records import Interval


@dataclass(frozen=True, slots=True)
class GateInput:
    """A version as the gate sees it: what it says of today's test split."""

    probabilities: npt.NDArray[np.floating]
    """(n, k), rows sum to 1."""
    labels: npt.NDArray[np.integer]
    """(n,), in [0, k): today's labels."""
    test_digest: str
    """Of the images scored, in their order."""
    classes: tuple[str, ...]
    """Names of the k columns: today's classes, which the labels index."""
    image_shape: tuple[int, int, int]
    """(C, H, W) that the version takes."""
    trained_on_test: int | None
    """Images of the test split that it was trained or selected on; None: not known."""
    weights_megabytes: float
    """Millions of bytes."""
    latency_ms: float | None = None
    """Milliseconds for one image; None: not measured."""


@dataclass(frozen=True, slots=True)
class ChampionUnusable:
    """There is a champion, and it cannot be scored."""

    reason: str
    """Such as: its weights have another digest than registered."""


class Reason(Record):
    """One rule of the gate and how it came out."""

    rule: str
    """Stable name, such as accuracy_over_majority or f1_macro."""
    passed: bool
    value: float | None = None
    """What was measured."""
    threshold: float | None = None
    """What it was held against."""
    text: str
    """One sentence for people."""


class Comparison(Record):
    """Challenger against champion on the same images; differences are challenger - champion."""

    images: int
    challenger_only: int
    """Images that only the challenger names rightly."""
    champion_only: int
    """Images that only the champion names rightly."""
    both_right: int
    p_value: float
    """Of the exact McNemar test, two-sided."""
    accuracy: float
    """Difference of accuracies."""
    accuracy_interval: Interval
    """Tango's score interval at the gate's significance."""
    f1_macro: float
    f1_macro_interval: Interval
    """Paired bootstrap."""
    cross_entropy: float
    """Difference in nats: below 0 the challenger is better."""
    cross_entropy_interval: Interval
    """Paired bootstrap."""
    detectable: float
    """True lead in accuracy that these images would show four times in five."""


class GateDecision(Record):
    """The gate's answer."""

    verdict: Verdict
    reasons: tuple[Reason, ...]
    """Every rule that was asked, in the order of asking."""
    comparison: Comparison | None = None
    """None where there was nothing to compare with."""

    @property
    def text(self) -> str:
        """One line: the verdict and what decided it."""
        last = self.reasons[-2:] if self.comparison else self.reasons[-1:]
        decisive = [one for one in self.reasons if not one.passed] or last
        return f"{self.verdict}: {' '.join(one.text for one in decisive)}"


def images_in_both(first: npt.NDArray[np.uint8], second: npt.NDArray[np.uint8]) -> int:
    """Count the ids, (n, 32) uint8 each, that occur in both."""
    return len(
        {row.tobytes() for row in np.ascontiguousarray(first)}
        & {row.tobytes() for row in np.ascontiguousarray(second)}
    )
