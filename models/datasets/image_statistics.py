"""Statistics of images, by which the checks judge them without their pixels."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from models.datasets.pixels import Pixels

OUTLINE = 16
"""Cells a side."""
LEAST_SIDE = 48
"""Pixels: of smaller images no outline is kept. Their near copies cannot be told from others that
are honestly alike: Fashion-MNIST, of 28 pixels, has a tenth of its images in such pairs."""
THUMBNAIL = (8, 9)
"""Height and width; each row of 9 gives 8 differences, so 64 bits in all."""


@dataclass(frozen=True, slots=True)
class ImageStatistics:
    """Of n images."""

    sizes: NDArray[np.int32]
    """(n, 2): height and width as decoded."""
    contrasts: NDArray[np.uint8]
    """(n,): brightest minus darkest value; 0: one colour."""
    thumbnails: NDArray[np.uint8]
    """(n, 8, 9): mean grey levels of an 8 x 9 grid."""
    outlined: NDArray[np.int64]
    """(m,), ascending: places of the images of LEAST_SIDE pixels a side and more."""
    outlines: NDArray[np.uint8]
    """(m, 16, 16): mean grey levels of these, in a grid."""

    @property
    def brightness(self) -> NDArray[np.float64]:
        """Mean grey level, 0..255."""
        mean: NDArray[np.float64] = self.thumbnails.mean(axis=(1, 2))
        return mean

    @property
    def hashes(self) -> NDArray[np.uint64]:
        """Difference hashes: which of two neighbours in a thumbnail is brighter, 64 bits."""
        brighter = self.thumbnails[:, :, 1:] > self.thumbnails[:, :, :-1]
        packed = np.packbits(brighter.reshape(len(brighter), 64), axis=1)
        return packed.view(np.uint64).reshape(-1)

    def take(self, rows: NDArray[np.int64]) -> "ImageStatistics":
        """Return those of some rows, in this order."""
        place = np.full(len(self.sizes), -1)
        place[self.outlined] = np.arange(len(self.outlined))
        outlined = np.flatnonzero(place[rows] >= 0)
        return ImageStatistics(
            sizes=self.sizes[rows],
            contrasts=self.contrasts[rows],
            thumbnails=self.thumbnails[rows],
            outlined=outlined,
            outlines=self.outlines[place[rows][outlined]],
        )


def concatenate_statistics(pieces: Sequence[ImageStatistics]) -> ImageStatistics:
    """Concatenate pieces, in their order."""
    starts = np.cumsum([0, *(len(piece.sizes) for piece in pieces)])
    outlined = [piece.outlined + start for piece, start in zip(pieces, starts, strict=False)]
    return ImageStatistics(
        sizes=np.concatenate([piece.sizes for piece in pieces]),
        contrasts=np.concatenate([piece.contrasts for piece in pieces]),
        thumbnails=np.concatenate([piece.thumbnails for piece in pieces]),
        outlined=np.concatenate(outlined),
        outlines=np.concatenate([piece.outlines for piece in pieces]),
    )


def image_statistics(images: list[Pixels] | NDArray[np.uint8]) -> ImageStatistics:
    """Compute the statistics of images of any shapes, or of (n, height, width, channels)."""
    if isinstance(images, np.ndarray):
        return _statistics(images)
    none = ImageStatistics(
        sizes=np.empty((0, 2), np.int32),
        contrasts=np.empty(0, np.uint8),
        thumbnails=np.empty((0, *THUMBNAIL), np.uint8),
        outlined=np.empty(0, np.int64),
        outlines=np.empty((0, OUTLINE, OUTLINE), np.uint8),
    )
    return concatenate_statistics([none, *(_statistics(image[None]) for image in images)])


def _statistics(images: NDArray[np.uint8]) -> ImageStatistics:
    n, height, width, _ = images.shape
    large = min(height, width) >= LEAST_SIDE
    flat = images.reshape(n, -1)
    return ImageStatistics(
        sizes=np.tile(np.array([[height, width]], np.int32), (n, 1)),
        contrasts=flat.max(axis=1) - flat.min(axis=1),
        thumbnails=_means(images, *THUMBNAIL),
        outlined=np.arange(n if large else 0),
        outlines=_means(images[: n if large else 0], OUTLINE, OUTLINE),
    )


def _means(images: NDArray[np.uint8], rows: int, columns: int) -> NDArray[np.uint8]:
    """Mean grey levels of a grid, (n, rows, columns)."""
    down, across = _cell_weights(images.shape[1], rows), _cell_weights(images.shape[2], columns)
    # float32 sums in one fixed order: these need no more digits than a grey level.
    means: NDArray[np.uint8] = np.rint(_sum_rows(images, down) @ across.T).astype(np.uint8)
    return means


def _grey(images: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Mean of the channels, (n, height, width); six times as fast as NumPy's over a short axis."""
    if images.shape[3] == 1:
        return images[..., 0].astype(np.float32)
    levels: NDArray[np.float32] = images[..., 0].astype(np.float32)
    for channel in range(1, images.shape[3]):
        levels += images[..., channel]
    return levels / np.float32(images.shape[3])


def _sum_rows(images: NDArray[np.uint8], weights: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return weights @ grey levels, (n, cells, width), a cell at a time, without the weights of 0.

    A product of matrices this large has BLAS wait on threads, in every process at once, and the
    grey levels of a whole image of 67 megapixels take 268 MB.
    """
    n, _, width, _ = images.shape
    sums = np.empty((n, len(weights), width), np.float32)
    for cell, line in enumerate(weights):
        rows = np.flatnonzero(line)
        part = slice(rows[0], rows[-1] + 1)
        np.einsum("h,nhw->nw", line[part], _grey(images[:, part]), out=sums[:, cell])
    return sums


@lru_cache(maxsize=256)
def _cell_weights(length: int, cells: int) -> NDArray[np.float32]:
    """Weights (cells, length) whose product with a line of pixels is the mean of each cell."""
    edges = np.arange(cells + 1) * (length / cells)
    pixels = np.arange(length)
    overlap = np.minimum(edges[1:, None], pixels + 1) - np.maximum(edges[:-1, None], pixels)
    weights: NDArray[np.float32] = np.clip(overlap, 0, None).astype(np.float32)
    return weights * np.float32(cells / length)
