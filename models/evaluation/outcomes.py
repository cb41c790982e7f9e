"""Predictions for test images beside their labels, as scores are computed from them."""

import hashlib
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]

SMALLEST = float(np.finfo(np.float64).eps)
"""Probabilities below count as this, as in scikit-learn's log_loss: at most 36 nats an image."""


@dataclass(frozen=True, slots=True)
class Predictions:
    """Classes predicted for n images of k classes, and what they cost."""

    labels: Integers
    """(n,), in [0, k)."""
    predicted: Integers
    """(n,), the most probable class; of equal ones the first."""
    losses: Floats
    """(n,), negative log-probability of the true class, nats."""

    @property
    def right(self) -> npt.NDArray[np.bool_]:
        """(n,): whether the predicted class is the true one."""
        return np.equal(self.predicted, self.labels)


@dataclass(frozen=True, slots=True)
class Outcomes(Predictions):
    """Predictions with their probabilities."""

    probabilities: Floats
    """(n, k), rows sum to 1."""
    confidence: Floats
    """(n,), probability of the predicted class."""


def outcomes_of(probabilities: npt.ArrayLike, labels: npt.ArrayLike) -> Outcomes:
    """Check the arrays and derive predictions, confidences and losses, in the order given.

    Raises ValueError for no images, fewer than two classes, shapes that do not fit, labels outside
    [0, k), and probabilities that are not finite, are negative, or do not sum to 1 (within 1e-3).
    """
    table, truth = np.asarray(probabilities, dtype=np.float64), np.asarray(labels)
    _check_shapes(table, truth)
    _check_values(table, truth)
    # Softmax in float32 misses 1 by some 1e-7, which log_loss would warn about.
    table = table / table.sum(axis=1, keepdims=True)
    truth = truth.astype(np.int64)
    predicted = table.argmax(axis=1)
    rows = np.arange(len(truth))
    of_truth = np.clip(table[rows, truth], SMALLEST, 1 - SMALLEST)
    return Outcomes(
        probabilities=table,
        labels=truth,
        predicted=predicted,
        confidence=table[rows, predicted],
        losses=-np.log(of_truth),
    )


def canonical(outcomes: Outcomes) -> Outcomes:
    """Sort the images by their values: sums then have the same bits for any input order."""
    keys = (outcomes.losses, outcomes.confidence, outcomes.predicted, outcomes.labels)
    order = np.lexsort(keys)
    return Outcomes(
        probabilities=outcomes.probabilities[order],
        labels=outcomes.labels[order],
        predicted=outcomes.predicted[order],
        confidence=outcomes.confidence[order],
        losses=outcomes.losses[order],
    )


def seed_of(*arrays: npt.NDArray[np.generic]) -> int:
    """Seed from the arrays' bytes alone, so that resampling is a function of the data."""
    sha = hashlib.sha256()
    for array in arrays:
        sha.update(np.ascontiguousarray(array).data)
    return int.from_bytes(sha.digest()[:8])


def _check_shapes(table: Floats, labels: npt.NDArray[np.generic]) -> None:
    if table.ndim != 2 or labels.ndim != 1 or len(table) != len(labels):
        raise ValueError(
            f"probabilities {table.shape} and labels {labels.shape} must be (n, k) and (n,)"
        )
    if len(labels) == 0:
        raise ValueError("no images to score: at least one is needed")
    if table.shape[1] < 2:
        raise ValueError(f"{table.shape[1]} class cannot be scored: at least two are needed")


def _check_values(table: Floats, labels: npt.NDArray[np.generic]) -> None:
    if not np.issubdtype(labels.dtype, np.integer):
        raise ValueError(f"labels are {labels.dtype}: they must be integers")
    outside = (labels < 0) | (labels >= table.shape[1])  # type: ignore[operator]
    if outside.any():
        raise ValueError(f"label {labels[outside][0]} is not in [0, {table.shape[1]})")
    broken = ~np.isfinite(table).all(axis=1)
    broken |= (table < 0).any(axis=1) | (np.abs(table.sum(axis=1) - 1) > 1e-3)
    if broken.any():
        row = int(np.flatnonzero(broken)[0])
        raise ValueError(
            f"probabilities of image {row} are {table[row].tolist()[:10]}: each must be finite and "
            f"not negative, and they must sum to 1 ({int(broken.sum())} such images)"
        )
