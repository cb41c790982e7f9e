"""Confident learning: which labels are likely wrong, by probabilities that never saw them.

Northcutt, Jiang & Chuang (2021), "Confident learning: estimating uncertainty in dataset labels",
JAIR 70:1373. An image counts as of a class where its probability is at least the mean that images
labelled so have for their own class; off the diagonal of given and counted class are the faults.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from models.evaluation.outcomes import Floats, Integers

_ROUNDING = 1e-6
"""Below a threshold that still reaches it: the mean of equal numbers may exceed them by a bit."""
NOT_COUNTED = -1


@dataclass(frozen=True, slots=True)
class Suspicion:
    """What probabilities say of the labels of n images of k classes."""

    labels: Integers
    """(n,), as given, in [0, k)."""
    proposed: Integers
    """(n,), the most likely class beside the given one; of equal ones the first."""
    margins: Floats
    """(n,), probability of the given class less that of the proposed one, -1 to 1."""
    own: Floats
    """(n,), probability of the given class: the self-confidence."""
    others: Floats
    """(n,), probability of the proposed class."""
    likely: npt.NDArray[np.bool_]
    """(n,), whether the label is likely wrong."""
    joint: Integers
    """(k, k), the confident joint: counts of given (row) and counted (column) class. Images that
    reach the threshold of no class are not in it."""

    @property
    def contradicted(self) -> npt.NDArray[np.bool_]:
        """(n,), whether another class is more probable than the label; so is every likely fault."""
        return self.margins < 0

    @property
    def ranking(self) -> Integers:
        """Places of all images, the most suspicious first.

        Likely faults, then the others; within each by margin, of equal ones the first.
        """
        return np.lexsort([self.margins, ~self.likely])


def suspect_labels(probabilities: Floats, labels: Integers) -> Suspicion:
    """Find the labels that out-of-sample probabilities speak against.

    probabilities: (n, k), rows sum to 1, of networks that saw none of these labels; labels: (n,),
    in [0, k). Deterministic; the order of the images decides on ties alone.
    """
    rows, classes = np.arange(len(labels)), probabilities.shape[1]
    counted = count_classes(probabilities, self_confidence(probabilities, labels))
    joint = np.zeros((classes, classes), np.int64)
    confident = counted != NOT_COUNTED
    np.add.at(joint, (labels[confident], counted[confident]), 1)
    beside = probabilities.copy()
    beside[rows, labels] = -np.inf
    rival = beside.argmax(axis=1)
    likely = confident & (counted != labels) & (probabilities.argmax(axis=1) != labels)
    proposed = np.where(likely, counted, rival)
    own, others = probabilities[rows, labels], probabilities[rows, rival]
    return Suspicion(
        labels=labels,
        proposed=proposed,
        margins=own - others,
        own=own,
        others=probabilities[rows, proposed],
        likely=likely,
        joint=joint,
    )


def self_confidence(probabilities: Floats, labels: Integers) -> Floats:
    """Return each class's threshold, (k,): the mean probability that its images give it.

    Infinite for a class without images, which no image can be counted as.
    """
    classes = probabilities.shape[1]
    own = probabilities[np.arange(len(labels)), labels]
    images = np.bincount(labels, minlength=classes)
    sums = np.bincount(labels, weights=own, minlength=classes)
    means: Floats = np.full(classes, np.inf)
    np.divide(sums, images, out=means, where=images > 0)
    return means


def count_classes(probabilities: Floats, thresholds: Floats) -> Integers:
    """Return the class that each image counts as, (n,): of those it reaches the most probable.

    NOT_COUNTED where it reaches none.
    """
    reached = probabilities >= thresholds - _ROUNDING
    best = np.where(reached, probabilities, -np.inf).argmax(axis=1)
    return np.where(reached.any(axis=1), best, NOT_COUNTED)
