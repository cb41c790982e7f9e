"""IDX: files of unsigned bytes as those of MNIST, plain or gzipped, images beside labels."""

import gzip
import struct
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, cast

import numpy as np
from numpy.typing import NDArray

from models.config import SplitName
from models.datasets.labelled_images import PixelRows, Source
from models.datasets.sources.paths import regular_file, slug
from models.datasets.sources.values import check_count, check_shape
from models.errors import InputError

_PIECE_BYTES = 2**23
_STEMS: dict[SplitName, str] = {"train": "train", "test": "t10k"}
_UNSIGNED_BYTES = 0x08


@dataclass(frozen=True, slots=True)
class _Pair:
    """Files of images and of their labels."""

    split: SplitName
    images: Path
    labels: Path


def idx_folder(folder: Path, *, classes: tuple[str, ...] = ()) -> Source | None:
    """Return the images of a folder in the four-file layout; None where it holds no such file.

    Train or t10k may be missing; their splits are declared train and test. Without class names the
    labels are the names: "0", "1", ... Raises InputError for damage and mismatched counts.
    """
    pairs = [pair for split in _STEMS if (pair := _pair(folder, split)) is not None]
    if not pairs:
        return None
    labels = {pair.split: _labels(pair) for pair in pairs}
    highest = max(int(values.max()) for values in labels.values())
    named = classes or tuple(str(label) for label in range(highest + 1))
    if highest >= len(named):
        raise InputError(f"{folder}: label {highest} has no name; there are {len(named)} classes")
    return Source(
        slug(folder.name),
        named,
        rows=lambda: (rows for pair in pairs for rows in _rows(pair, labels[pair.split])),
    )


def _pair(folder: Path, split: SplitName) -> _Pair | None:
    images, labels = _find(folder, split, "images"), _find(folder, split, "labels")
    if images is None and labels is None:
        return None
    if images is None or labels is None:
        found, missing = (images, "labels") if images is not None else (labels, "images")
        raise InputError(f"{found}: its {missing} are missing; put them into the same folder")
    return _Pair(split, images, labels)


def _find(folder: Path, split: SplitName, kind: str) -> Path | None:
    found = sorted(folder.glob(f"{_STEMS[split]}-{kind}[-.]idx*-ubyte*"))
    if len(found) > 1:
        names = ", ".join(path.name for path in found)
        raise InputError(f"{folder}: holds {names}; keep one of them")
    return found[0] if found else None


def _labels(pair: _Pair) -> NDArray[np.int64]:
    with _opened(pair.images) as file:
        images, *shape = _header(file, pair.images, dimensions=3)
    check_count(images, where=str(pair.images))
    check_shape(shape, where=str(pair.images))
    with _opened(pair.labels) as file:
        (count,) = _header(file, pair.labels, dimensions=1)
        check_count(count, where=str(pair.labels))
        values = _read(file, count, pair.labels)
        _expect_end(file, pair.labels)
    if count != images:
        raise InputError(
            f"{pair.labels}: {count} labels for {images} images of {pair.images.name}; "
            "one of the two files is not of this dataset"
        )
    if count == 0:
        raise InputError(f"{pair.images}: holds no images")
    return np.frombuffer(values, np.uint8).astype(np.int64)


def _rows(pair: _Pair, labels: NDArray[np.int64]) -> Iterator[PixelRows]:
    with _opened(pair.images) as file:
        count, height, width = _header(file, pair.images, dimensions=3)
        most = max(1, _PIECE_BYTES // max(1, height * width))
        for start in range(0, count, most):
            rows = min(most, count - start)
            data = _read(file, rows * height * width, pair.images)
            pixels = np.frombuffer(data, np.uint8).reshape(rows, height, width, 1)
            yield PixelRows(pixels, labels[start : start + rows], (pair.split,) * rows)
        _expect_end(file, pair.images)


@contextmanager
def _opened(path: Path) -> Iterator[IO[bytes]]:
    """Open a plain or gzipped file, as its content says. Raises InputError for damage inside."""
    regular_file(path)
    try:
        with path.open("rb") as raw:
            zipped = raw.read(2) == b"\x1f\x8b"
            raw.seek(0)
            with gzip.GzipFile(fileobj=raw) if zipped else raw as file:
                yield cast("IO[bytes]", file)
    except (EOFError, zlib.error, OSError) as error:
        raise InputError(f"{path}: cannot be read ({error}); fetch or copy it again") from error


def _header(file: IO[bytes], path: Path, *, dimensions: int) -> tuple[int, ...]:
    """Read magic and sizes: 2049 for labels, 2051 for grey images."""
    magic = file.read(4)
    expected = bytes([0, 0, _UNSIGNED_BYTES, dimensions])
    if magic != expected:
        raise InputError(
            f"{path}: begins with {magic.hex() or 'nothing'}, not {expected.hex()}; it is no IDX "
            f"file of unsigned bytes in {dimensions} dimensions (a saved web page, perhaps)"
        )
    return struct.unpack(f">{dimensions}I", _read(file, 4 * dimensions, path))


def _read(file: IO[bytes], length: int, path: Path) -> bytes:
    data = file.read(length)
    if len(data) != length:
        raise InputError(f"{path}: ends too early; it is truncated, fetch or copy it again")
    return data


def _expect_end(file: IO[bytes], path: Path) -> None:
    if file.read(1):
        raise InputError(f"{path}: goes on after the last item that its header counts")
