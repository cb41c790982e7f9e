"""Accuracy on images without labels, estimated from labelled reference images.

Two estimates, each right under an assumption of its own, which no unlabelled image can prove.
"""

from collections.abc import Iterator

import numpy as np

from models.evaluation.outcomes import Floats, Integers
from models.evaluation.uncertainty.intervals import holding, percentile_interval
from models.monitoring.records import AccuracyEstimate, ClassProportion, UnlabelledAccuracy
from models.monitoring.sample import Sample

RESAMPLES = 500
_FEWEST = 20
"""Labelled reference images."""
_MOST_CLASSES = 200
_LEAST_SINGULAR = 0.05
"""Smallest singular value of P(predicted | true): below, class shares are little but noise."""


def estimate_accuracy(
    reference: Sample, batch: Sample, *, classes: tuple[str, ...], generator: np.random.Generator
) -> UnlabelledAccuracy | None:
    """Estimate the accuracy on a batch, with 95 % bootstrap intervals over both samples.

    None where fewer than 20 images of the reference have labels.
    """
    labelled = reference.labels >= 0
    if np.count_nonzero(labelled) < _FEWEST:
        return None
    labels, predicted = reference.labels[labelled], reference.predicted[labelled]
    right, confidence = labels == predicted, reference.confidence[labelled]
    atc = _by_threshold(right, confidence, batch.confidence, generator)
    joint = np.zeros((len(classes), len(classes)), np.int64)
    np.add.at(joint, (predicted, labels), 1)
    counts = np.bincount(batch.predicted, minlength=len(classes))
    shift, shares = _by_label_shift(joint, counts, classes, generator)
    return UnlabelledAccuracy(
        reference=float(right.mean()),
        reference_images=len(labels),
        estimates=(atc,) if shift is None else (atc, shift),
        proportions=shares,
    )


def share_above_threshold(right: Integers, confidence: Floats, batch: Floats) -> float:
    """Average thresholded confidence (Garg et al., 2022, ICLR, arXiv:2201.04234).

    The threshold leaves as many reference images below it as are wrong; returned is the share of
    the batch, (m,), at or above it. right, confidence: (n,), of the reference.
    """
    wrong = len(right) - int(np.count_nonzero(right))
    if wrong == len(right):
        return 0.0
    return float(np.mean(batch >= np.partition(confidence, wrong)[wrong]))


def class_proportions(joint: Integers, predicted: Integers) -> Floats:
    """Shares of the true classes, (k,), by black box shift estimation (Lipton et al., 2018, ICML).

    joint: (k, k), reference images by (predicted, true) class; predicted: (k,), images of the batch
    by predicted class. Negative shares count as 0.
    """
    given = joint / np.maximum(joint.sum(axis=0), 1)
    shares = np.clip(np.linalg.pinv(given) @ (predicted / predicted.sum()), 0, None)
    total = shares.sum()
    found: Floats = shares / total if total > 0 else np.full(len(shares), 1 / len(shares))
    return found


def _by_threshold(
    right: Integers, confidence: Floats, batch: Floats, generator: np.random.Generator
) -> AccuracyEstimate:
    found, draws = share_above_threshold(right, confidence, batch), np.empty(RESAMPLES)
    for at in range(RESAMPLES):
        rows = generator.integers(len(right), size=len(right))
        share = share_above_threshold(right[rows], confidence[rows], batch)
        draws[at] = generator.binomial(len(batch), share) / len(batch)
    return AccuracyEstimate(
        method="ATC", accuracy=found, interval=holding(percentile_interval(draws), found)
    )


def _by_label_shift(
    joint: Integers,
    predicted: Integers,
    classes: tuple[str, ...],
    generator: np.random.Generator,
) -> tuple[AccuracyEstimate | None, tuple[ClassProportion, ...]]:
    """Accuracy and class shares; neither where the confusion matrix does not tell classes apart."""
    if len(classes) > _MOST_CLASSES or not _tells_apart(joint):
        return None, ()
    shares = class_proportions(joint, predicted)
    found, drawn = _accuracy(joint, shares), list(_resampled(joint, predicted, generator))
    accuracies = np.array([_accuracy(table, there) for table, there in drawn])
    estimate = AccuracyEstimate(
        method="BBSE", accuracy=found, interval=holding(percentile_interval(accuracies), found)
    )
    theirs = np.array([there for _, there in drawn])
    return estimate, tuple(
        ClassProportion(
            name=name,
            share=float(share),
            interval=holding(percentile_interval(column), float(share)),
        )
        for name, share, column in zip(classes, shares, theirs.T, strict=True)
    )


def _resampled(
    joint: Integers, predicted: Integers, generator: np.random.Generator
) -> Iterator[tuple[Integers, Floats]]:
    cells, theirs = joint.ravel() / joint.sum(), predicted / predicted.sum()
    for _ in range(RESAMPLES):
        table = generator.multinomial(joint.sum(), cells).reshape(joint.shape)
        yield table, class_proportions(table, generator.multinomial(predicted.sum(), theirs))


def _accuracy(joint: Integers, shares: Floats) -> float:
    """Recall of each class on the reference, weighted by the shares of the classes."""
    return float(shares @ (np.diag(joint) / np.maximum(joint.sum(axis=0), 1)))


def _tells_apart(joint: Integers) -> bool:
    if not joint.sum(axis=0).all():
        return False  # a class without labelled images
    return bool(np.linalg.svd(joint / joint.sum(axis=0), compute_uv=False)[-1] >= _LEAST_SINGULAR)
