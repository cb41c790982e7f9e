"""Scores that the population of the test images may have: bootstraps, seeded by their caller."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import sparse

from models.evaluation.outcomes import Floats, Integers

PSEUDO_RIGHT, PSEUDO_ERRORS = 3.0, 0.75
"""Images that the prior adds in all: bench/trust.py tables how often its intervals are right."""
_STICKS = 16
"""Cells that share the prior's errors in a draw; the rest would have (3 / 7)^16, a millionth."""
_MOST_NUMBERS = 2**20
"""Drawn at once: 8 MB, whatever the number of classes and images."""


def resampled_means(values: Floats, generator: np.random.Generator, *, resamples: int) -> Floats:
    """Means of n values drawn from the n with replacement: (resamples,)."""
    n = len(values)
    # One row at a time fits the processor's cache; all at once needs n x resamples numbers.
    draws = (values[generator.integers(0, n, n, dtype=np.int32)].mean() for _ in range(resamples))
    return np.fromiter(draws, dtype=np.float64, count=resamples)


def drawn_f1_macro(
    labels: Integers,
    predictions: Sequence[Integers],
    *,
    classes: int,
    generator: np.random.Generator,
    resamples: int,
) -> Floats:
    """Macro F1 of each list of predictions in populations that may lie behind the images.

    Bayesian bootstrap (Rubin, 1981, Ann Stat 9:130), smoothed: a draw gives each cell (label,
    prediction of the first, of the second...) a share from the Dirichlet posterior of its images.
    The prior spreads PSEUDO_RIGHT images that all have right evenly over the classes with images,
    and for each list PSEUDO_ERRORS images that it alone has wrong over the cells where it can err.
    Resampling the images alone calls a classifier without mistakes certainly faultless.
    labels and each of predictions: (n,), in [0, classes);  result: (len(predictions), resamples).
    """
    cells = _count(labels, predictions, classes)
    numbers = len(cells.apart) + (1 + 2 * len(predictions)) * len(cells.together)
    most = max(_MOST_NUMBERS // numbers, 1)
    sizes = [min(most, resamples - start) for start in range(0, resamples, most)]
    return np.concatenate([_draw(cells, generator, size) for size in sizes], axis=1)


@dataclass(frozen=True, slots=True)
class _Cells:
    """Images of each cell; p of the k classes have images, m cells are not right in every list."""

    present: Integers
    """(k,): place of a class among the p; one without images has the place p."""
    together: Integers
    """(p,): images of the class that all lists have right."""
    apart: Integers
    """(m,): images of the other cells."""
    right: tuple[sparse.csr_array, ...]
    """Of each list, (m, p): 1 at the class that the cell has right."""
    wrong: tuple[sparse.csr_array, ...]
    """Of each list, (m, p): 1 at the class that the cell misses, and at the one named instead."""


def _count(labels: Integers, predictions: Sequence[Integers], classes: int) -> _Cells:
    shape = (classes,) * (1 + len(predictions))
    codes, counts = np.unique(
        np.ravel_multi_index((labels, *predictions), shape), return_counts=True
    )
    cells = np.stack(np.unravel_index(codes, shape), axis=1)
    seen = np.unique(labels)
    present = np.full(classes, len(seen))
    present[seen] = np.arange(len(seen))
    same = (cells[:, 1:] == cells[:, :1]).all(axis=1)
    together = np.zeros(len(seen), np.int64)
    together[present[cells[same, 0]]] = counts[same]
    places, named = present[cells[~same, 0]], present[cells[~same, 1:]]
    hit = cells[~same, 1:] == cells[~same, :1]
    return _Cells(
        present=present,
        together=together,
        apart=counts[~same],
        right=tuple(_marks([places], one, len(seen)) for one in hit.T),
        wrong=tuple(
            _marks([places, name], ~one, len(seen))
            for one, name in zip(hit.T, named.T, strict=True)
        ),
    )


def _marks(places: Sequence[Integers], rows: np.ndarray, width: int) -> sparse.csr_array:
    """Matrix (m, width) with a 1 at each of the places of the chosen rows; place width is none."""
    cell, place = (
        np.concatenate([part[rows] for part in parts])
        for parts in ([np.arange(len(rows))] * len(places), places)
    )
    inside = place < width
    ones = np.ones(int(inside.sum()))
    return sparse.csr_array((ones, (cell[inside], place[inside])), shape=(len(rows), width))


def _draw(cells: _Cells, generator: np.random.Generator, size: int) -> Floats:
    """Macro F1 of each list, (lists, size).

    Shares are gamma variables over their sum, which cancels in F1.
    """
    p = len(cells.together)
    both = generator.standard_gamma(cells.together + PSEUDO_RIGHT / p, (size, p))
    apart = generator.standard_gamma(cells.apart, (size, len(cells.apart)))
    right = [both + apart @ marks for marks in cells.right]
    wrong = [apart @ marks for marks in cells.wrong]
    for erring in range(len(wrong)):
        missed, named = _prior_errors(cells, generator, size)
        wrong[erring] += missed + named
        for other in range(len(right)):
            if other != erring:
                right[other] += missed
    return np.stack(
        [(2 * one / (2 * one + off)).mean(axis=1) for one, off in zip(right, wrong, strict=True)]
    )


def _prior_errors(
    cells: _Cells, generator: np.random.Generator, size: int
) -> tuple[Floats, Floats]:
    """Weights (size, p) of the prior's errors at the class missed, and at the one named instead."""
    p, k = len(cells.together), len(cells.present)
    drawn = draw_prior_errors(np.flatnonzero(cells.present < p), k, generator, size)
    places = (cells.present[at] for at in (drawn.missed, drawn.named))
    missed, named = (weights_of(at, drawn.weights, p + 1)[:, :p] for at in places)
    return missed, named


@dataclass(frozen=True, slots=True)
class PriorErrors:
    """Errors that the prior adds in each of some draws; each (draws, sticks)."""

    weights: Floats
    missed: Integers
    """Class of the images."""
    named: Integers
    """Class that they are taken for."""


def draw_prior_errors(
    seen: Integers, classes: int, generator: np.random.Generator, size: int
) -> PriorErrors:
    """Spread PSEUDO_ERRORS images over the cells where a class with images is taken for another.

    Stick-breaking (Sethuraman, 1994, Stat Sinica 4:639) is a Dirichlet distribution with the same
    small parameter in each of the cells, however many: of a million only a few have any weight.
    seen: classes with images.
    """
    parts = generator.beta(1, PSEUDO_ERRORS, (size, _STICKS))
    left = np.cumprod(np.insert(1 - parts[:, :-1], 0, 1, axis=1), axis=1)
    weights = parts * left * generator.standard_gamma(PSEUDO_ERRORS, (size, 1))
    missed = seen[generator.integers(0, len(seen), weights.shape)]
    named = generator.integers(0, classes - 1, weights.shape)
    named += named >= missed
    return PriorErrors(weights=weights, missed=missed, named=named)


def weights_of(places: Integers, weights: Floats, width: int) -> Floats:
    """Sum of the weights at each place in each row: (size, width)."""
    size = len(weights)
    at = (np.arange(size)[:, None] * width + places).ravel()
    sums = np.bincount(at, weights.ravel(), minlength=size * width)
    return np.asarray(sums, np.float64).reshape(size, width)
