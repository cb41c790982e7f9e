"""Writing of a split's arrays, gathered from the scratch file."""

import hashlib
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from models.datasets.prepared import SplitInfo
from models.datasets.split_assignment import Pictures
from models.datasets.splits import Indices
from models.digests import digest_of

_CHUNK = 4096


def write_split(
    folder: Path, scratch: NDArray[np.uint8], pictures: Pictures, *, rows: Indices, n_classes: int
) -> SplitInfo:
    """Write images.npy (n, channels, height, width), labels.npy and ids.npy of these rows.

    scratch: (all rows, height, width, channels).
    """
    folder.mkdir(parents=True)
    labels, ids = pictures.labels[rows], pictures.ids[rows]
    height, width, channels = scratch.shape[1:]
    shape = (len(rows), channels, height, width)
    arrays = {
        "images": _write(folder / "images.npy", _gather(scratch, rows), shape, kind=np.uint8),
        "labels": _write(folder / "labels.npy", [labels], labels.shape, kind=np.int64),
        "ids": _write(folder / "ids.npy", [ids], ids.shape, kind=np.uint8),
    }
    return SplitInfo(
        images=len(rows),
        digest=digest_of(dict(arrays)),
        arrays=arrays,
        class_counts=tuple(np.bincount(labels, minlength=n_classes).tolist()),
    )


def mean_and_std(images: NDArray[np.uint8]) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Mean and standard deviation per channel of (n, channels, h, w), values scaled to [0, 1].

    Computed from integer sums, so independent of chunks; the deviation is at least one grey level.
    """
    channels = images.shape[1]
    pixels = images.size // channels
    total, squares = [0] * channels, [0] * channels
    for start in range(0, len(images), _CHUNK):
        chunk = images[start : start + _CHUNK].astype(np.uint32)
        for channel in range(channels):
            values = chunk[:, channel]
            total[channel] += int(values.sum(dtype=np.uint64))
            squares[channel] += int(np.square(values).sum(dtype=np.uint64))
    mean = tuple(value / pixels / 255 for value in total)
    variances = [
        (square * pixels - value * value) / pixels**2
        for value, square in zip(total, squares, strict=True)
    ]
    return mean, tuple(max(1.0, variance**0.5) / 255 for variance in variances)


def _gather(scratch: NDArray[np.uint8], rows: Indices) -> Iterator[NDArray[np.uint8]]:
    for start in range(0, len(rows), _CHUNK):
        chunk = scratch[rows[start : start + _CHUNK]]
        yield np.ascontiguousarray(chunk.transpose(0, 3, 1, 2))


def _write(
    path: Path, chunks: Iterable[NDArray[np.generic]], shape: tuple[int, ...], *, kind: type
) -> str:
    """Write a .npy file in chunks; return the SHA-256 of its values."""
    digest = hashlib.sha256()
    layout = {"descr": np.dtype(kind).str, "fortran_order": False, "shape": shape}
    with path.open("wb") as file:
        np.lib.format.write_array_header_1_0(file, layout)
        for chunk in chunks:
            digest.update(chunk.data)
            # Written, not mapped: a full disk is then an error, not a SIGBUS.
            file.write(chunk.data)
    return digest.hexdigest()
