"""What the gate compares: the predictions and costs of a challenger and of a champion."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt


@dataclass(frozen=True, slots=True)
class GateInput:
    """A version as the gate sees it: its predictions for today's test split, and its costs."""

    probabilities: npt.NDArray[np.floating]
    """(n, k), rows sum to 1."""
    labels: npt.NDArray[np.integer]
    """(n,), in [0, k): today's labels."""
    test_digest: str
    """Digest of the ids of the n images, in their order. Each version may take them at a size and
    with channels of its own."""
    classes: tuple[str, ...]
    """Names of the k columns: today's classes, which the labels index."""
    trained_on_test: int | None
    """Images of the test split that it was trained or selected on; None: not known."""
    weights_megabytes: float
    """Millions of bytes."""
    latency_ms: float | None = None
    """Median milliseconds per image (models.evaluation.inference.measure_latency_ms); None: not
    measured, since the gate sets no limit."""
    unknown: tuple[str, ...] = ()
    """Classes that came after the version was trained: it gives them the probability 0."""


@dataclass(frozen=True, slots=True)
class ChampionUnusable:
    """There is a champion, and it cannot be scored."""

    reason: str
    """Such as: its weights do not have the digest that was registered."""
