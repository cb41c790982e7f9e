"""Two-sample tests: whether two samples could be of one distribution.

Each returns a statistic, larger for samples further apart, and a p-value that is valid for any
distribution.
"""

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from models.evaluation.outcomes import Floats, Integers

COMPONENTS = 32
"""Principal components of the embedding that the domain classifier uses."""
FOLDS = 5
_RIDGE = 1e-2
"""Ridge penalty per row, where each feature has unit variance."""
_REACH = 4.0
"""Standard deviations at which a component is clipped: no outlier may dominate its square."""


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
    """AUC of a classifier that tells two samples of embeddings apart, and its permutation p-value.

    The classifier two-sample test (Lopez-Paz and Oquab, 2017) on a network's features (Rabanser et
    al., 2019): ridge regression on the leading components and their squares, cross-fitted. It is
    linear in the labels, so that each permutation has its classifier fitted anew. reference: (n,
    features), batch: (m, features); AUC is of held-out folds, 0.5 by chance.
    """
    features = _features(np.concatenate([reference, batch]))
    labels = np.repeat(np.array([0, 1], np.int8), [len(reference), len(batch)])
    # Equal scores rank by row: shuffled, so that the place of a row tells nothing of its sample.
    rows = generator.permutation(len(labels))
    shuffled = generator.permuted(np.tile(labels, (permutations, 1)), axis=1)
    aucs = _cross_fitted_aucs(features[rows], np.vstack([labels[rows], shuffled]))
    return float(aucs[0]), _permutation_p(float(aucs[0]), aucs[1:])


def _features(embeddings: Floats) -> Floats:
    """Leading components and their squares, each of zero mean and unit variance.

    Labels are not used. A direction without variance is left out: of images that all look the same
    no feature remains.
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
    """AUC for each line of labels (p, n): share of correctly ordered pairs within the folds."""
    right, pairs = np.zeros(len(labels)), np.zeros(len(labels))
    folds = np.arange(len(features)) % FOLDS
    for fold in range(FOLDS):
        held = labels[:, folds == fold]
        weights = _ridge_weights(features[folds != fold], labels[:, folds != fold])
        # float32 sorts several times as fast, and 4 s of a report were sorting.
        scores = (weights @ features[folds == fold].T).astype(np.float32)
        ranked = np.take_along_axis(held, np.argsort(scores, axis=1), axis=1)
        ones = ranked.sum(axis=1, dtype=np.float64)
        right += ranked @ np.arange(1.0, held.shape[1] + 1) - ones * (ones + 1) / 2
        pairs += ones * (held.shape[1] - ones)
    aucs: Floats = np.divide(right, pairs, out=np.full(len(pairs), 0.5), where=pairs > 0)
    return aucs


def _ridge_weights(features: Floats, labels: NDArray[np.int8]) -> Floats:
    """Ridge weights (p, features), without the intercept, which changes no order."""
    gram = features.T @ features + _RIDGE * len(features) * np.eye(features.shape[1])
    sums = labels @ features - np.outer(labels.mean(axis=1), features.sum(axis=0))
    weights: Floats = np.asarray(np.linalg.solve(gram, sums.T).T, np.float64)
    return weights


def _permutation_p(found: float, permuted: Floats) -> float:
    """Share of the permutations at least as extreme, the observed statistic included."""
    # Sums in another order may differ in the last bit from an equal statistic.
    reached = np.count_nonzero(permuted >= found - 1e-12 * max(1.0, abs(found)))
    return float((1 + reached) / (1 + len(permuted)))
