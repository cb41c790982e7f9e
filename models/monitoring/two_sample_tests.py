"""Two-sample tests: whether these images could have come from where those did.

Each gives a statistic, more being further apart, and a p-value that is too small no more often than
it says, whatever the distribution.
"""

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from models.evaluation.outcomes import Floats, Integers

COMPONENTS = 32
"""Directions of the embedding that the domain classifier is given, those of most variance."""
FOLDS = 5
_RIDGE = 1e-2
"""Penalty a row, where each feature has unit variance."""
_REACH = 4.0
"""Standard deviations at which a component is cut off, so that no outlier rules its square."""


def distribution_shift(reference: Floats, batch: Floats) -> tuple[float, float]:
    """Kolmogorov-Smirnov distance of two samples, (n,) and (m,), and its asymptotic p-value.

    Ties make it too large, never too small.
    """
    found = stats.ks_2samp(reference, batch, method="asymp")
    return float(found.statistic), float(found.pvalue)


def count_shift(
    reference: Integers, batch: Integers, *, permutations: int, generator: np.random.Generator
) -> tuple[float, float]:
    """Chi-square statistic of two lists of counts by class, (k,) each, and its permutation p-value.

    Tables with the same margins are drawn (Patefield, 1981): classes may be rare.
    """
    table = np.stack([reference, batch])[:, reference + batch > 0]
    rows, columns = table.sum(axis=1), table.sum(axis=0)
    expected = np.outer(rows, columns) / table.sum()
    drawn = stats.random_table(rows, columns).rvs(permutations, random_state=generator)
    found = ((table - expected) ** 2 / expected).sum()
    return float(found), _permutation_p(
        float(found), ((drawn - expected) ** 2 / expected).sum(axis=(1, 2))
    )


def domain_shift(
    reference: Floats, batch: Floats, *, permutations: int, generator: np.random.Generator
) -> tuple[float, float]:
    """How well a classifier tells two samples of embeddings apart: AUC, and permutation p-value.

    The classifier two-sample test (Lopez-Paz and Oquab, 2017) on a network's features (Rabanser et
    al., 2019): ridge regression on the leading components and their squares, cross-fitted. It is
    linear in the labels, so that each permutation has its classifier fitted anew. reference: (n,
    features), batch: (m, features); AUC is of held-out folds, 0.5 by chance.
    """
    features = _described(np.concatenate([reference, batch]))
    labels = np.repeat(np.array([0, 1], np.int8), [len(reference), len(batch)])
    # Equal scores rank by row: shuffled, no row tells by its place where it is from.
    rows = generator.permutation(len(labels))
    shuffled = generator.permuted(np.tile(labels, (permutations, 1)), axis=1)
    aucs = _cross_fitted_aucs(features[rows], np.vstack([labels[rows], shuffled]))
    return float(aucs[0]), _permutation_p(float(aucs[0]), aucs[1:])


def _described(embeddings: Floats) -> Floats:
    """Leading components and their squares, each of zero mean and unit variance, blind to labels.

    A direction without variance is left out; of images that all look the same nothing remains.
    """
    centred = embeddings - embeddings.mean(axis=0)
    variances, directions = np.linalg.eigh(centred.T @ centred / len(centred))
    kept = variances > max(variances[-1], 0.0) * 1e-9 + 1e-12
    scale = np.sqrt(variances[kept][-COMPONENTS:])
    components = centred @ directions[:, kept][:, -COMPONENTS:] / scale
    cut = np.clip(components, -_REACH, _REACH)
    both = np.hstack([cut, cut**2])
    scaled: Floats = (both - both.mean(axis=0)) / np.maximum(both.std(axis=0), 1e-6)
    return scaled


def _cross_fitted_aucs(features: Floats, labels: NDArray[np.int8]) -> Floats:
    """AUC by each line of labels (p, n): pairs in the right order, of all pairs within a fold."""
    right, pairs = np.zeros(len(labels)), np.zeros(len(labels))
    folds = np.arange(len(features)) % FOLDS
    for fold in range(FOLDS):
        held = labels[:, folds == fold]
        weights = _fitted(features[folds != fold], labels[:, folds != fold])
        # float32 sorts several times as fast, and 4 s of a report were sorting.
        scores = (weights @ features[folds == fold].T).astype(np.float32)
        ranked = np.take_along_axis(held, np.argsort(scores, axis=1), axis=1)
        ones = ranked.sum(axis=1, dtype=np.float64)
        right += ranked @ np.arange(1.0, held.shape[1] + 1) - ones * (ones + 1) / 2
        pairs += ones * (held.shape[1] - ones)
    aucs: Floats = np.divide(right, pairs, out=np.full(len(pairs), 0.5), where=pairs > 0)
    return aucs


def _fitted(features: Floats, labels: NDArray[np.int8]) -> Floats:
    """Ridge weights (p, features), the intercept left out: it changes no order."""
    gram = features.T @ features + _RIDGE * len(features) * np.eye(features.shape[1])
    sums = labels @ features - np.outer(labels.mean(axis=1), features.sum(axis=0))
    weights: Floats = np.asarray(np.linalg.solve(gram, sums.T).T, np.float64)
    return weights


def _permutation_p(found: float, permuted: Floats) -> float:
    """Share of the permutations at least as extreme, the one that was found among them."""
    # Sums in another order may differ in the last bit from an equal statistic.
    reached = np.count_nonzero(permuted >= found - 1e-12 * max(1.0, abs(found)))
    return float((1 + reached) / (1 + len(permuted)))
