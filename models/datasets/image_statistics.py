"""Looks: what the checks know of an image without its pixels."""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from models.datasets.pixels import Pixels

THUMB = (8, 9)
"""Height and width; each row of 9 gives 8 differences, so 64 bits in all."""


@dataclass(frozen=True, slots=True)
class Looks:
    """Of n images."""

    sizes: NDArray[np.int32]
    """(n, 2): height and width as decoded."""
    spans: NDArray[np.uint8]
    """(n,): brightest minus darkest value; 0: one colour."""
    thumbs: NDArray[np.uint8]
    """(n, 8, 9): mean grey levels of an 8 x 9 grid."""

    @property
    def brightness(self) -> NDArray[np.float64]:
        """Mean grey level, 0..255."""
        mean: NDArray[np.float64] = self.thumbs.mean(axis=(1, 2))
        return mean

    @property
    def hashes(self) -> NDArray[np.uint64]:
        """Difference hashes: which of two neighbours in a thumb is brighter, 64 bits."""
        brighter = self.thumbs[:, :, 1:] > self.thumbs[:, :, :-1]
        packed = np.packbits(brighter.reshape(len(brighter), 64), axis=1)
        return packed.view(np.uint64).reshape(-1)

    def take(self, rows: NDArray[np.int64]) -> "Looks":
        """Return those of some rows, in this order."""
        return Looks(self.sizes[rows], self.spans[rows], self.thumbs[rows])


def joined(looks: list[Looks]) -> Looks:
    """Put pieces together, in their order."""
    return Looks(
        np.concatenate([piece.sizes for piece in looks]),
        np.concatenate([piece.spans for piece in looks]),
        np.concatenate([piece.thumbs for piece in looks]),
    )


def look_at(images: list[Pixels] | NDArray[np.uint8]) -> Looks:
    """Look at images of any shapes, or at an array of them, (n, height, width, channels)."""
    if isinstance(images, np.ndarray):
        return _look(images)
    nothing = Looks(
        np.empty((0, 2), np.int32), np.empty(0, np.uint8), np.empty((0, *THUMB), np.uint8)
    )
    return joined([nothing, *(_look(image[None]) for image in images)])


def _look(images: NDArray[np.uint8]) -> Looks:
    n, height, width, _ = images.shape
    down, across = _means(height, THUMB[0]), _means(width, THUMB[1])
    # float32 sums in one fixed order: these need no more digits than a grey level.
    thumbs = _rows_summed(_grey(images), down) @ across.T
    flat = images.reshape(n, -1)
    return Looks(
        sizes=np.tile(np.array([[height, width]], np.int32), (n, 1)),
        spans=flat.max(axis=1) - flat.min(axis=1),
        thumbs=np.rint(thumbs).astype(np.uint8),
    )


def _grey(images: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Mean of the channels, (n, height, width); six times as fast as NumPy's over a short axis."""
    if images.shape[3] == 1:
        return images[..., 0].astype(np.float32)
    levels: NDArray[np.float32] = images[..., 0].astype(np.float32)
    for channel in range(1, images.shape[3]):
        levels += images[..., channel]
    return levels / np.float32(images.shape[3])


def _rows_summed(grey: NDArray[np.float32], weights: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return weights @ grey, (n, cells, width), leaving out the many weights that are 0.

    A product of matrices this large has BLAS wait on threads, in every process at once.
    """
    sums = np.empty((len(grey), len(weights), grey.shape[2]), np.float32)
    for cell, line in enumerate(weights):
        rows = np.flatnonzero(line)
        part = slice(rows[0], rows[-1] + 1)
        np.einsum("h,nhw->nw", line[part], grey[:, part], out=sums[:, cell])
    return sums


@lru_cache(maxsize=256)
def _means(length: int, cells: int) -> NDArray[np.float32]:
    """Weights (cells, length) whose product with a line of pixels is the mean of each cell."""
    edges = np.arange(cells + 1) * (length / cells)
    pixels = np.arange(length)
    overlap = np.minimum(edges[1:, None], pixels + 1) - np.maximum(edges[:-1, None], pixels)
    weights: NDArray[np.float32] = np.clip(overlap, 0, None).astype(np.float32)
    return weights * np.float32(cells / length)
