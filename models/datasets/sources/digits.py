"""scikit-learn's digits: 1,797 handwritten digits, 8x8, embedded in the library."""

from collections.abc import Iterator

import numpy as np

from models.datasets.labelled_images import PixelRows, Source

CLASSES = tuple("0123456789")


def digits() -> Source:
    """Return the digits, their grey levels 0..16 scaled to 0..255; no split is declared."""
    return Source(name="digits", classes=CLASSES, rows=_rows)


def _rows() -> Iterator[PixelRows]:
    from sklearn.datasets import load_digits  # noqa: PLC0415 - a second, and only for this source

    images, labels = load_digits(return_X_y=True)
    pixels = np.rint(images.reshape(-1, 8, 8, 1) * (255 / 16)).astype(np.uint8)
    yield PixelRows(pixels, labels.astype(np.int64), (None,) * len(labels))
