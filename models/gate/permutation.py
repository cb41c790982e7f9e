"""Paired permutation tests: the two versions exchanged image by image, at random.

If the versions are alike, either's prediction of an image could be the other's: each exchange is as
likely as what was seen (Good, 2005, "Permutation, parametric and bootstrap tests of hypotheses").
p-values count what was seen as one of the draws, so that a level is kept however few these are
(Phipson & Smyth, 2010, Stat Appl Genet Mol Biol 9:39).
"""

import math
from collections.abc import Callable

import numpy as np
import numpy.typing as npt
from scipy import sparse

from models.evaluation.outcomes import Floats, Integers

_BEYOND = 20
"""Draws beyond what was seen of a p-value at the level; it moves by about a fifth of itself."""
_MOST_NUMBERS = 2**20
"""Drawn at once: 8 MB."""


def cross_entropy_p(excess_loss: Floats, generator: np.random.Generator, *, level: float) -> float:
    """One-sided p-value of "the challenger's cross-entropy is no lower".

    excess_loss: (n,), loss of the challenger minus the champion's, nats; an exchange turns a sign.
    level: significance that decides; a p-value above it comes from fewer draws.
    """
    differing = excess_loss[excess_loss != 0]
    # Exchanges take twice their losses from the sum: it stays as low as seen where they sum to 0 or
    # more. Rounding must not part what is equal.
    least = -1e-9 * float(np.abs(differing).sum())

    def as_low(exchanged: Floats) -> npt.NDArray[np.bool_]:
        return np.asarray(exchanged @ differing >= least)

    return _p_value(as_low, len(differing), generator, level=level)


def f1_macro_p(
    labels: Integers,
    predictions: tuple[Integers, Integers],
    generator: np.random.Generator,
    *,
    level: float,
) -> float:
    """One-sided p-value of "the challenger's macro F1 is no higher".

    labels, predictions of the challenger and of the champion: (n,); macro F1 is the mean over the
    classes with images.
    level: significance that decides; a p-value above it comes from fewer draws.
    """
    exchange = _F1Exchange(labels, predictions)
    # Rounding must not part what is equal.
    least = float(exchange.lead(np.zeros((1, exchange.images)))[0]) - 1e-9

    def as_high(exchanged: Floats) -> npt.NDArray[np.bool_]:
        return np.asarray(exchange.lead(exchanged) >= least)

    return _p_value(as_high, exchange.images, generator, level=level)


class _F1Exchange:
    """Macro F1 of both as functions of the images that are exchanged; only those differ count."""

    def __init__(self, labels: Integers, predictions: tuple[Integers, Integers]) -> None:
        one, other = predictions
        size = int(max(labels.max(), one.max(), other.max())) + 1
        seen = np.flatnonzero(np.bincount(labels, minlength=size))
        self._right, self._either = (
            [counted[:, seen] for counted in side]
            for side in zip(*(_counts(labels, named, size) for named in predictions), strict=True)
        )
        apart = one != other
        self.images = int(apart.sum())
        gained = _hits(labels, other, size)[apart] - _hits(labels, one, size)[apart]
        named = _ones(other, size)[apart] - _ones(one, size)[apart]
        self._gained, self._named = gained[:, seen], named[:, seen]

    def lead(self, exchanged: Floats) -> Floats:
        """Challenger's macro F1 minus the champion's: exchanged (draws, images) -> (draws,)."""
        right, named = exchanged @ self._gained, exchanged @ self._named
        first = 2 * (self._right[0] + right) / (self._either[0] + named)
        second = 2 * (self._right[1] - right) / (self._either[1] - named)
        return np.asarray((first - second).mean(axis=1))


def _counts(labels: Integers, named: Integers, size: int) -> tuple[Floats, Floats]:
    """Images right, and images of or taken for each class, (1, size) each."""
    right = np.bincount(labels[labels == named], minlength=size)
    either = np.bincount(labels, minlength=size) + np.bincount(named, minlength=size)
    return right[None].astype(np.float64), either[None].astype(np.float64)


def _ones(places: Integers, size: int) -> sparse.csr_array:
    """Matrix (n, size) with a 1 in each row."""
    n = len(places)
    return sparse.csr_array((np.ones(n), (np.arange(n), places)), shape=(n, size))


def _hits(labels: Integers, named: Integers, size: int) -> sparse.csr_array:
    """Matrix (n, size) with a 1 where an image is named rightly."""
    rows = np.flatnonzero(labels == named)
    ones = np.ones(len(rows))
    return sparse.csr_array((ones, (rows, labels[rows])), shape=(len(labels), size))


def _p_value(
    beyond: Callable[[Floats], npt.NDArray[np.bool_]],
    images: int,
    generator: np.random.Generator,
    *,
    level: float,
) -> float:
    """Share of random exchanges that are beyond what was seen, which is one of them.

    beyond: exchanged (draws, images), 0 or 1 -> (draws,). Stops once the share must exceed the
    level, which leaves the answer at the level as it is.
    """
    if images == 0:
        return 1.0
    draws = math.ceil(_BEYOND / max(level, 1e-6)) - 1
    most = max(_MOST_NUMBERS // images, 1)
    done = found = 0
    while done < draws and found + 1 <= level * (draws + 1):
        size = min(most, draws - done, max(done, 1000))
        found += int(beyond(generator.integers(0, 2, (size, images)).astype(np.float64)).sum())
        done += size
    return (found + 1) / (done + 1)
