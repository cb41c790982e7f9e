"""Near copies: a picture that is another one moved, cut, turned, mirrored, darkened or compressed.

Outlines of 16 x 16 grey levels are compared twice. Candidates are neighbours by their low
frequencies, in a k-d tree. Of each the other's brightness and a small affine motion are fitted by
least squares (Lucas & Kanade, 1981, "An iterative image registration technique"), and what remains
unexplained says whether it is a near copy. Memory is linear in the number of pictures.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import NDArray

from models.datasets.image_statistics import OUTLINE
from models.datasets.splits import Indices

UNEXPLAINED = 0.11
"""Of an outline's standard deviation, or of NOISE_LEVELS where that is greater, root mean square,
that may remain; measured by bench/near_copies.py."""
NOISE_LEVELS = 4.0
"""Added to the deviation in quadrature: what JPEG leaves of a plain picture is noise."""
LEAST_DETAIL = 0.7
"""Standard deviation in grey levels, below which a picture is too plain to be told from others."""
GAIN = 0.6, 1.7
"""Factors of contrast between two near copies."""
_BLUR_CELLS = 1.4
_WINDOW = 0.33
"""Deviation, in half sides."""
_NEIGHBOURS = 16
"""Candidates of each picture, and as many of its mirror image."""
_REACH = 0.7
"""Euclidean distance of candidates, of vectors of length 1 at most."""
_CHUNK = 4096
_RIDGE = 0.5
"""Variance of noise that prior deviations of the motion are held against, grey levels squared."""
_PRIOR_LEVELS, _PRIOR_CELLS, _PRIOR_SLOPE = 4.0, 0.8, 0.6
"""Deviations expected of an offset in grey levels, a shift in cells, a shift's change by half a
picture."""
_MOST_CELLS = 2.0
_RADIUS = 0.8
"""Of the disc that is compared, in half sides."""

Outlines = NDArray[np.uint8]
"""(n, 16, 16), grey levels."""
Blurred = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class NearCopies:
    """Pairs of near copies."""

    first: Indices
    """Of the pictures that were searched for."""
    second: Indices
    remaining: NDArray[np.float64]
    """What is not explained, as a share; at most UNEXPLAINED."""


def near_copies(outlines: Outlines, sought: Indices) -> NearCopies:
    """Find the near copies, among all outlines, of those sought: a pair for each that was found."""
    first, second, mirrored = _candidates(outlines, sought)
    pieces = [
        _remaining(outlines[first[part]], _turned(outlines[second[part]], mirrored[part]))
        for part in _parts(len(first))
    ]
    remaining = np.concatenate([np.empty(0), *pieces])
    near = np.flatnonzero(remaining <= UNEXPLAINED)
    return NearCopies(first[near], second[near], remaining[near])


def unexplained(one: Outlines, other: Outlines) -> NDArray[np.float64]:
    """Return what of each outline (n, 16, 16) the other one, or its mirror image, does not explain.

    A share of the deviation; 1 and more where the two have nothing in common.
    """
    return np.minimum(_remaining(one, other), _remaining(one, other[:, :, ::-1]))


def _parts(length: int) -> Iterator[slice]:
    return (slice(start, start + _CHUNK) for start in range(0, length, _CHUNK))


def _turned(outlines: Outlines, mirrored: NDArray[np.bool_]) -> Outlines:
    return np.where(mirrored[:, None, None], outlines[:, :, ::-1], outlines)


def _candidates(outlines: Outlines, sought: Indices) -> tuple[Indices, Indices, NDArray[np.bool_]]:
    from scipy.spatial import cKDTree  # noqa: PLC0415 - half a second, and only where it is needed

    vectors = np.concatenate([_vectors(outlines[part]) for part in _parts(len(outlines))])
    tree = cKDTree(vectors)
    found = []
    for mirror in (False, True):
        wanted = vectors[sought] * _mirror_signs() if mirror else vectors[sought]
        _, places = tree.query(wanted, k=_NEIGHBOURS, distance_upper_bound=_REACH, workers=-1)
        rows, columns = np.nonzero(places < len(outlines))
        pairs = np.stack([sought[rows], places[rows, columns]])
        found.append(pairs[:, pairs[0] != pairs[1]])
    mirrored = np.repeat([False, True], [pairs.shape[1] for pairs in found])
    first, second = np.concatenate(found, axis=1).astype(np.int64)
    return first, second, mirrored


@cache
def _frequencies() -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Vertical and horizontal frequencies, in half waves, that candidates are compared by."""
    down, across = np.indices((5, 5))
    low = (down + across > 0) & (down + across < 5)
    return down[low], across[low]


@cache
def _mirror_signs() -> NDArray[np.float32]:
    return np.where(_frequencies()[1] % 2, -1, 1).astype(np.float32)


@cache
def _waves() -> NDArray[np.float32]:
    """Cosines without mean in a Gaussian window: edges count little. (frequencies, 256)."""
    places = (np.arange(OUTLINE) + 0.5) * np.pi / OUTLINE
    down, across = _frequencies()
    waves = np.cos(down[:, None] * places)[:, :, None] * np.cos(across[:, None] * places)[:, None]
    side = (np.arange(OUTLINE) - (OUTLINE - 1) / 2) / (OUTLINE / 2)
    window = np.exp(-(side[:, None] ** 2 + side**2) / (2 * _WINDOW**2))
    means = (waves * window).sum(axis=(1, 2), keepdims=True) / window.sum()
    windowed = ((waves - means) * window).reshape(len(down), -1)
    return np.asarray(windowed / np.linalg.norm(windowed, axis=1, keepdims=True), np.float32)


def _vectors(outlines: Outlines) -> NDArray[np.float32]:
    """Low frequencies of each outline, (n, 14), of length 1, or less where it is plain."""
    low = _blurred(outlines).reshape(len(outlines), -1) @ _waves().T
    length = np.linalg.norm(low, axis=1, keepdims=True)
    vectors: NDArray[np.float32] = low / np.hypot(length, NOISE_LEVELS)
    return vectors


@cache
def _blur() -> NDArray[np.float32]:
    cells = np.arange(OUTLINE)
    weights = np.exp(-((cells[:, None] - cells) ** 2) / (2 * _BLUR_CELLS**2))
    blur: NDArray[np.float32] = (weights / weights.sum(axis=1, keepdims=True)).astype(np.float32)
    return blur


def _blurred(outlines: Outlines) -> Blurred:
    blurred: Blurred = _blur() @ outlines.astype(np.float32) @ _blur().T
    return blurred


def _remaining(one: Outlines, other: Outlines) -> NDArray[np.float64]:
    """Return what of `one` is not explained by `other`, moved and brightened; infinite: too far."""
    wanted = _inner(_blurred(one))
    terms = _terms(_blurred(other))
    fitted = _solved(terms, wanted)
    rest = wanted - (fitted[:, None] @ terms)[:, 0]
    deviation = wanted.std(axis=1)
    share = np.sqrt((rest**2).mean(axis=1)) / np.hypot(deviation, NOISE_LEVELS)
    gain = fitted[:, 0]
    motion = np.abs(fitted[:, 2:]).max(axis=1) / np.maximum(gain, GAIN[0])
    told = deviation >= LEAST_DETAIL
    like = (gain >= GAIN[0]) & (gain <= GAIN[1]) & (motion <= _MOST_CELLS) & told
    return np.where(like, share, np.inf)


@cache
def _disc() -> NDArray[np.bool_]:
    """Cells of a disc: a small motion does not take them out, and turning brings no corner in."""
    side = (np.arange(OUTLINE) - (OUTLINE - 1) / 2) / (OUTLINE / 2)
    disc: NDArray[np.bool_] = np.hypot(side[:, None], side) < _RADIUS
    return disc


def _inner(outlines: Blurred) -> NDArray[np.float32]:
    """The cells that are compared, (n, cells)."""
    return outlines[:, _disc()]


def _terms(other: Blurred) -> NDArray[np.float32]:
    """What may explain an outline, (n, 8, cells): levels, offset, and motion to first order."""
    down, across = (_inner(one) for one in _slopes(other))
    side = (np.arange(OUTLINE) - (OUTLINE - 1) / 2) / (OUTLINE / 2)
    y, x = (_inner(one[None].astype(np.float32)) for one in np.meshgrid(side, side, indexing="ij"))
    levels = _inner(other)
    moves = (step * place for step in (across, down) for place in (np.ones_like(x), x, y))
    return np.stack([levels, np.ones_like(levels), *moves], axis=1)


def _slopes(outlines: Blurred) -> tuple[Blurred, Blurred]:
    down, across = np.gradient(outlines, axis=(1, 2))
    return np.asarray(down, np.float32), np.asarray(across, np.float32)


def _solved(terms: NDArray[np.float32], wanted: NDArray[np.float32]) -> NDArray[np.float64]:
    """Least squares with a prior, (n, 8): motion is small."""
    deviations = [_PRIOR_CELLS, _PRIOR_SLOPE, _PRIOR_SLOPE]
    prior = np.array([np.inf, _PRIOR_LEVELS, *deviations, *deviations])
    normal = (terms @ terms.transpose(0, 2, 1)).astype(np.float64)
    normal += np.diag(_RIDGE / prior**2 + 1e-3)
    solved: NDArray[np.float64] = np.linalg.solve(normal, terms @ wanted[:, :, None])
    return solved[:, :, 0]
