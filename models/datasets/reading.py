"""Reading of images from any source: files, folders however nested, batches and data sources."""

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from models.config.data import ImageForm
from models.datasets.batches import Batch, read_batch, read_piece
from models.datasets.decoding import decode
from models.datasets.labelled_images import EncodedRows, PixelRows, Rows
from models.datasets.pixels import Pixels, conform
from models.datasets.raw import batch_files
from models.datasets.sources.detect import detect, find_source
from models.datasets.sources.folder import SUFFIXES, image_files, read_image
from models.datasets.sources.paths import shown
from models.errors import InputError, IntegrityError

Content: TypeAlias = Path | bytes | Pixels | InputError
"""An image's file, its content or its pixels; an error for a file that could not be read."""


def read_images(source: Path) -> Iterator[tuple[str, Content]]:
    """Yield the name of every image, safe to print and to write, and its content.

    source: an image, a folder of images however nested, or any data source.
    """
    if source.is_file() and source.suffix.lower() in SUFFIXES:
        yield shown(source.name), source
    elif source.is_dir() and detect(source) == "folder":
        for path in image_files(source):
            yield shown(path.relative_to(source).as_posix()), path
    else:
        numbers = dict[str, int]()
        for _, rows in read_labelled(source):
            yield from _named(rows, numbers)


def read_labelled(source: Path) -> Iterator[tuple[tuple[str, ...], Rows]]:
    """Yield classes and rows of a data source, batches of `data add` included, piece by piece.

    Raises InputError where nothing can be read.
    """
    batches = _own_batches(source)
    if batches:
        for batch in batches:
            for piece in range(len(batch.piece_lengths)):
                yield batch.classes, read_piece(batch, piece)
        return
    found = find_source(source)
    for rows in found.rows():
        yield found.classes, rows


def to_pixels(content: Content) -> Pixels:
    """Decode a content. Raises InputError where it is no image, or could not be read."""
    if isinstance(content, InputError):
        raise content
    if isinstance(content, np.ndarray):
        return content
    return decode(read_image(content) if isinstance(content, Path) else content)


def decode_rows(rows: Rows) -> Iterator[Pixels]:
    """Decode the images of a piece. Raises InputError, naming the file, for one that cannot be."""
    if isinstance(rows, PixelRows):
        yield from rows.pixels
        return
    for file, path in zip(rows.files, rows.paths, strict=True):
        try:
            yield to_pixels(file)
        except InputError as error:
            raise InputError(f"{path}: {error}") from None


def stack_images(images: Iterable[Pixels], form: ImageForm) -> NDArray[np.uint8]:
    """Convert images (height, width, channels) to one array (n, channels, height, width)."""
    rows = [conform(image, form) for image in images]
    return np.ascontiguousarray(np.stack(rows).transpose(0, 3, 1, 2))


def _own_batches(source: Path) -> list[Batch]:
    """Batches of `data add`; none where the source is something else."""
    paths = batch_files(source) if source.is_dir() else (source,)
    try:
        return [read_batch(path) for path in paths if path.suffix == ".parquet"]
    except IntegrityError:
        return []


def _named(rows: Rows, numbers: dict[str, int]) -> Iterator[tuple[str, Content]]:
    if isinstance(rows, EncodedRows):
        yield from zip(rows.paths, rows.files, strict=True)
        return
    for pixels, split in zip(rows.pixels, rows.splits, strict=True):
        part = split or "images"
        yield f"{part}/{numbers.setdefault(part, 0)}", pixels
        numbers[part] += 1
