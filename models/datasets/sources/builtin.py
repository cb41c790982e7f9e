"""Datasets that pitchpipe knows by name: scikit-learn's digits and Fashion-MNIST."""

import dataclasses
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from models.datasets.labelled_images import PixelRows, Source
from models.datasets.sources.idx import idx_folder
from models.datasets.sources.paths import regular_file
from models.digests import digest_file
from models.errors import InputError

FASHION_MNIST_CLASSES = (
    "T-shirt/top",
    "Trouser",
    "Pullover",
    "Dress",
    "Coat",
    "Sandal",
    "Shirt",
    "Sneaker",
    "Bag",
    "Ankle boot",
)
FASHION_MNIST_DIGESTS = {
    "train-images-idx3-ubyte.gz": (
        "b0564c3eedabfbf835052cff8503ea422014ce006caf5b757f851416ee8300c7"
    ),
    "train-labels-idx1-ubyte.gz": (
        "0ae29f65d86684f32d1b9c85147786c547b9c6aebcaf235f0400a0cce308b056"
    ),
    "t10k-images-idx3-ubyte.gz": (
        "cc1d090a38ace84dfa1aa66e3ada7c336ef481a96936906477e6dd344da56eaa"
    ),
    "t10k-labels-idx1-ubyte.gz": (
        "8d3605d196f4be44669e46906da9733c8131fef761fdbfec72c424d5222f1a05"
    ),
}
"""SHA-256 of the four files."""


def digits() -> Source:
    """Return scikit-learn's 1,797 handwritten digits, 8x8; no split is declared.

    Their grey levels 0..16 are scaled to 0..255.
    """
    return Source(name="digits", classes=tuple("0123456789"), rows=_digits_rows)


def _digits_rows() -> Iterator[PixelRows]:
    from sklearn.datasets import load_digits  # noqa: PLC0415 - a second, and only for this source

    images, labels = load_digits(return_X_y=True)
    pixels = np.rint(images.reshape(-1, 8, 8, 1) * (255 / 16)).astype(np.uint8)
    yield PixelRows(pixels, labels.astype(np.int64), (None,) * len(labels))


def is_fashion_mnist(folder: Path) -> bool:
    """Whether the folder's test labels, 5 kB, are those of Fashion-MNIST."""
    name = "t10k-labels-idx1-ubyte.gz"
    return (folder / name).is_file() and digest_file(folder / name) == FASHION_MNIST_DIGESTS[name]


def fashion_mnist(folder: Path) -> Source:
    """Return Fashion-MNIST: 70,000 grey images of clothes, 28x28, with a test split of 10,000.

    folder: holds the four files. Raises InputError where one is missing or not the published file.
    """
    for name, digest in FASHION_MNIST_DIGESTS.items():
        regular_file(folder / name)
        found = digest_file(folder / name)
        if found != digest:
            raise InputError(
                f"{folder / name}: SHA-256 {found} is not the published {digest}; fetch it again"
            )
    source = idx_folder(folder, classes=FASHION_MNIST_CLASSES)
    if source is None:
        raise InputError(f"{folder}: holds no IDX files")
    return dataclasses.replace(source, name="fashion-mnist")
