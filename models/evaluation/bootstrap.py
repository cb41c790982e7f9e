"""Bootstrap: scores on resampled test images."""

from collections.abc import Sequence

import numpy as np

from models.evaluation.outcomes import Floats, Integers


def resampled_means(values: Floats, generator: np.random.Generator, *, resamples: int) -> Floats:
    """Means of n values drawn from the n with replacement: (resamples,)."""
    n = len(values)
    # One row at a time fits the processor's cache; all at once needs n x resamples numbers.
    draws = (values[generator.integers(0, n, n, dtype=np.int32)].mean() for _ in range(resamples))
    return np.fromiter(draws, dtype=np.float64, count=resamples)


def resampled_f1(
    labels: Integers,
    predictions: Sequence[Integers],
    *,
    classes: int,
    generator: np.random.Generator,
    resamples: int,
) -> Floats:
    """F1 per class of every list of predictions on the same resampled images.

    Images are drawn within their true class, so that rare classes stay present; drawing the counts
    of equal (label, predictions) from a multinomial is the same as drawing images, and faster.
    labels and each of predictions: (n,);  result: (len(predictions), resamples, classes).
    """
    cells, counts = _distinct(labels, predictions, classes)
    right = np.zeros((len(predictions), resamples, classes))
    predicted_as = np.zeros_like(right)
    support = np.bincount(labels, minlength=classes)
    for label in np.flatnonzero(support):
        here = cells[:, 0] == label
        shares = counts[here] / support[label]
        draws = generator.multinomial(support[label], shares, size=resamples).astype(np.float64)
        for index, predicted in enumerate(cells[here, 1:].T):
            names, place = np.unique(predicted, return_inverse=True)
            predicted_as[index][:, names] += draws @ np.eye(len(names))[place]
            right[index, :, label] = draws[:, predicted == label].sum(axis=1)
    either = predicted_as + support
    return np.divide(2 * right, either, out=np.zeros_like(right), where=either > 0)


def _distinct(
    labels: Integers, predictions: Sequence[Integers], classes: int
) -> tuple[Integers, Integers]:
    """Distinct rows of (label, prediction, ...) and the number of images of each."""
    shape = (classes,) * (1 + len(predictions))
    codes, counts = np.unique(
        np.ravel_multi_index((labels, *predictions), shape), return_counts=True
    )
    return np.stack(np.unravel_index(codes, shape), axis=1), counts
