"""Two-sample tests: whether two samples could be of one distribution.

Each returns a statistic, larger for samples further apart, and a p-value that is valid for any
distribution, also where it is compared with levels as small as those of a year of looks.
"""

import math
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from models.evaluation.outcomes import Floats, Integers

COMPONENTS = 32
"""Principal components of the embedding that the domain classifier uses."""
_RIDGE = 1e-2
"""Ridge penalty per row, where each feature has unit variance."""
_REACH = 4.0
"""Standard deviations at which a component is clipped: no outlier may dominate its square."""
_ENOUGH = 10
"""Draws at least as extreme as what was seen, with which a p-value is known well enough."""
_CELLS = 2_000_000
"""Cells of the tables that are drawn at once."""


def distribution_shift(reference: Floats, batch: Floats) -> tuple[float, float]:
    """Kolmogorov-Smirnov distance of two samples, (n,) and (m,), and its asymptotic p-value.

    Ties make it too large, never too small.
    """
    found = stats.ks_2samp(reference, batch, method="asymp")
    return float(found.statistic), float(found.pvalue)


def count_shift(
    reference: Integers,
    batch: Integers,
    *,
    permutations: int,
    generator: np.random.Generator,
    threshold: float | None = None,
) -> tuple[float, float]:
    """Chi-square statistic of two lists of counts by class, (k,) each, and its permutation p-value.

    Tables with the same margins are drawn (Patefield, 1981): classes may be rare. threshold: what
    the p-value will be compared with; where fewer than ten of the permutations reach the statistic,
    there are 2 / threshold in all, so that it can be below (as Besag & Clifford, 1991, Biometrika
    78:301, draw on only where it matters).
    """
    table = np.stack([reference, batch])[:, reference + batch > 0]
    found, draws = _chi_square(table, table[None])[0], permutations
    reached = sum(_reaching(table, found, draws, generator))
    if threshold is not None and reached < _ENOUGH:
        draws = max(draws, math.ceil(2 / threshold))
        reached += sum(_reaching(table, found, draws - permutations, generator))
    return float(found), (1 + reached) / (1 + draws)


def _chi_square(table: Integers, drawn: Integers) -> Floats:
    """Chi-square of tables (draws, 2, k) against what the margins of one, (2, k), lead to."""
    expected = np.outer(table.sum(axis=1), table.sum(axis=0)) / table.sum()
    found: Floats = ((drawn - expected) ** 2 / expected).sum(axis=(1, 2))
    return found


def _reaching(
    table: Integers, found: float, draws: int, generator: np.random.Generator
) -> Iterator[int]:
    """Count, of some tables at a time, those at least as extreme as what was found."""
    tables = stats.random_table(table.sum(axis=1), table.sum(axis=0))
    at_once = max(_CELLS // table.size, 1)
    for start in range(0, draws, at_once):
        drawn = tables.rvs(min(at_once, draws - start), random_state=generator)
        # Sums in another order may differ in the last bit from an equal statistic.
        least = found - 1e-12 * max(1.0, found)
        yield int(np.count_nonzero(_chi_square(table, drawn) >= least))


def domain_shift(
    reference: Floats, batch: Floats, *, generator: np.random.Generator
) -> tuple[float, float]:
    """AUC of a classifier that tells the samples apart, and its p-value (Lopez-Paz & Oquab, 2017).

    It is a ridge regression on the leading components and their squares, fitted on a random half of
    each sample; of the other halves are the AUC, 0.5 by chance, and the one-sided p-value of its
    Mann-Whitney test, which is as good at the smallest level, where permutations would have to be a
    hundred thousand. reference: (n, features), batch: (m, features).
    """
    features = _features(np.concatenate([reference, batch]))
    if features.shape[1] == 0:
        return 0.5, 1.0
    is_batch = np.repeat([False, True], [len(reference), len(batch)])
    held = _halves(len(reference), len(batch), generator)
    weights = _ridge_weights(features[~held], is_batch[~held])
    # float32: equal images in different rows have sums that differ in the last bits.
    scores = (features[held] @ weights).astype(np.float32)
    theirs, ours = scores[is_batch[held]], scores[~is_batch[held]]
    found = stats.mannwhitneyu(theirs, ours, alternative="greater", method="asymptotic")
    auc = float(found.statistic) / (len(theirs) * len(ours))
    return auc, float(found.pvalue) if np.isfinite(found.pvalue) else 1.0


def _halves(reference: int, batch: int, generator: np.random.Generator) -> NDArray[np.bool_]:
    """Rows held out: half of the reference, which comes first, and half of the batch."""
    held = [generator.permutation(count) < count // 2 for count in (reference, batch)]
    return np.concatenate(held)


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


def _ridge_weights(features: Floats, is_batch: NDArray[np.bool_]) -> Floats:
    """Ridge weights (features,), without the intercept, which changes no order."""
    gram = features.T @ features + _RIDGE * len(features) * np.eye(features.shape[1])
    weights: Floats = np.linalg.solve(gram, features.T @ (is_batch - is_batch.mean()))
    return weights
