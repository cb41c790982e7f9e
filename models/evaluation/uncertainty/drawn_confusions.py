"""Balanced accuracy and Matthews correlation in populations that may lie behind the images."""

from dataclasses import dataclass

import numpy as np
from scipy import sparse

from models.evaluation.outcomes import Floats, Integers
from models.evaluation.uncertainty.bootstrap import PSEUDO_RIGHT, draw_prior_errors, weights_of

_MOST_NUMBERS = 2**20
"""Drawn at once: 8 MB."""


@dataclass(frozen=True, slots=True)
class DrawnScores:
    """Scores in each of the populations, (resamples,)."""

    balanced_accuracy: Floats
    mcc: Floats


def drawn_confusion_scores(
    labels: Integers,
    predicted: Integers,
    *,
    classes: int,
    generator: np.random.Generator,
    resamples: int,
) -> DrawnScores:
    """Draw confusion matrices and score each.

    The smoothed Bayesian bootstrap of `bootstrap.drawn_f1_macro`, with its prior. labels,
    predicted: (n,), in [0, classes).
    """
    cells = _count(labels, predicted, classes)
    most = max(_MOST_NUMBERS // (len(cells.wrong) + 4 * classes), 1)
    sizes = [min(most, resamples - start) for start in range(0, resamples, most)]
    parts = [_draw(cells, generator, size) for size in sizes]
    return DrawnScores(
        balanced_accuracy=np.concatenate([part.balanced_accuracy for part in parts]),
        mcc=np.concatenate([part.mcc for part in parts]),
    )


@dataclass(frozen=True, slots=True)
class _Cells:
    """Images of each cell of a confusion matrix; m cells off its diagonal have any."""

    seen: Integers
    """Classes that have images."""
    right: Integers
    """(k,): images of the diagonal."""
    wrong: Integers
    """(m,): images of the other cells."""
    missed: sparse.csr_array
    """(m, k): 1 at the class of the cell's images."""
    named: sparse.csr_array
    """(m, k): 1 at the class that they are taken for."""


def _count(labels: Integers, predicted: Integers, classes: int) -> _Cells:
    wrong = labels != predicted
    pairs = np.stack([labels[wrong], predicted[wrong]], axis=1)
    cells, images = np.unique(pairs, axis=0, return_counts=True)
    ones, rows, shape = np.ones(len(cells)), np.arange(len(cells)), (len(cells), classes)
    missed, named = (sparse.csr_array((ones, (rows, at)), shape=shape) for at in cells.T)
    return _Cells(
        seen=np.unique(labels),
        right=np.bincount(labels[~wrong], minlength=classes),
        wrong=images,
        missed=missed,
        named=named,
    )


def _draw(cells: _Cells, generator: np.random.Generator, size: int) -> DrawnScores:
    k, seen = len(cells.right), cells.seen
    shape = cells.right.astype(np.float64)
    shape[seen] += PSEUDO_RIGHT / len(seen)
    right = generator.standard_gamma(shape, (size, k))
    wrong = generator.standard_gamma(cells.wrong, (size, len(cells.wrong)))
    prior = draw_prior_errors(seen, k, generator, size)
    true = right + wrong @ cells.missed + weights_of(prior.missed, prior.weights, k)
    named = right + wrong @ cells.named + weights_of(prior.named, prior.weights, k)
    return DrawnScores(
        balanced_accuracy=(right[:, seen] / true[:, seen]).mean(axis=1),
        mcc=_mcc(right, true, named),
    )


def _mcc(right: Floats, true: Floats, named: Floats) -> Floats:
    """Correlation of Gorodkin (2004, Comput Biol Chem 28:367); 0 where either side is constant."""
    total = true.sum(axis=1)
    spread = [total**2 - (one**2).sum(axis=1) for one in (true, named)]
    covariance = right.sum(axis=1) * total - (true * named).sum(axis=1)
    # One class alone leaves the rounding of its own square.
    constant = np.minimum(*spread) <= 1e-12 * total**2
    scale = np.sqrt(np.where(constant, 1, spread[0] * spread[1]))
    return np.asarray(np.where(constant, 0, covariance / scale))
