"""Batch prediction for any images, with a bounded number of them in memory."""

import dataclasses
import itertools
import os
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from pydantic import JsonValue

from flows.registry.loading import LoadedVersion
from models.datasets.batches import Batch, read_batch, read_piece
from models.datasets.decoding import decode
from models.datasets.labelled_images import EncodedRows, PixelRows, Rows
from models.datasets.pixels import Pixels, conform
from models.datasets.raw import batch_files
from models.datasets.sources.detect import detect, find_source
from models.datasets.sources.folder import SUFFIXES, image_files, read_image
from models.datasets.sources.paths import shown
from models.errors import InputError, IntegrityError
from models.evaluation.inference import MINIBATCH


@dataclass(frozen=True, slots=True)
class Prediction:
    """A version's prediction for one image."""

    image: str
    """Path below the source, with unprintable characters escaped; or split and row."""
    label: str | None
    """The most probable class; None where the image could not be read."""
    probabilities: dict[str, float] | None
    """Class -> probability."""
    milliseconds: float | None
    """The network's time for the minibatch, divided by its images."""
    error: str | None = None
    """Why there is no label."""

    def document(self) -> dict[str, JsonValue]:
        """One row of `pitchpipe predict --json`."""
        return dataclasses.asdict(self)


@dataclass(frozen=True, slots=True)
class _Picture:
    """An image to predict."""

    name: str
    pixels: Pixels | None
    """In the version's image shape; None where it could not be read."""
    error: str | None = None


def predict_source(
    version: LoadedVersion, source: Path, *, threads: int | None = None
) -> Iterator[Prediction]:
    """Predict every image of a source, in its order, streaming.

    source: an image, a folder of images however nested, or any data source (Parquet, IDX, NPZ).
    An image that cannot be read or decoded gets a row with the error. Raises InputError where there
    is no image at all. threads: CPU threads; by default all that this process may use.
    """
    pictures, count = _pictures(source, version), 0
    while minibatch := list(itertools.islice(pictures, MINIBATCH)):
        yield from _predict(version, minibatch, threads or len(os.sched_getaffinity(0)))
        count += len(minibatch)
    if count == 0:
        raise InputError(f"{source}: holds no image ({', '.join(sorted(SUFFIXES))})")


def read_pieces(source: Path) -> Iterator[tuple[tuple[str, ...], Rows]]:
    """Yield classes and rows of a data source piece by piece; pitchpipe's own batches are one, too.

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


def conform_all(images: Iterable[Pixels], shape: tuple[int, int, int]) -> NDArray[np.uint8]:
    """Conform images (height, width, channels) to an array (n, channels, height, width)."""
    channels, height, _ = shape
    rows = [conform(image, image_size=height, channels=channels) for image in images]
    return np.ascontiguousarray(np.stack(rows).transpose(0, 3, 1, 2))


def decode_rows(rows: Rows) -> Iterator[Pixels]:
    """Decode the images of a piece of a source; raises InputError where one is damaged."""
    if isinstance(rows, PixelRows):
        yield from rows.pixels
    else:
        for file, path in zip(rows.files, rows.paths, strict=True):
            try:
                yield decode(file)
            except InputError as error:
                raise InputError(f"{path}: {error}") from None


def decode_content(content: Path | bytes | Pixels) -> Pixels:
    """Decode an image; raises InputError where it is none."""
    if isinstance(content, np.ndarray):
        return content
    return decode(read_image(content) if isinstance(content, Path) else content)


def image_contents(source: Path) -> Iterator[tuple[str, Path | bytes | Pixels]]:
    """Yield the name of every image, safe to print and to write, and its content or path.

    source: an image, a folder of images however nested, or any data source.
    """
    if source.is_file() and source.suffix.lower() in SUFFIXES:
        yield shown(source.name), source
    elif source.is_dir() and detect(source) == "folder":
        for path in image_files(source):
            yield shown(path.relative_to(source).as_posix()), path
    else:
        numbers = dict[str, int]()
        for _, rows in read_pieces(source):
            yield from _named(rows, numbers)


def _pictures(source: Path, version: LoadedVersion) -> Iterator[_Picture]:
    channels, side, _ = version.files.lineage.image_shape
    for name, read in image_contents(source):
        try:
            pixels = decode_content(read)
        except InputError as error:
            yield _Picture(name, None, str(error))
        else:
            yield _Picture(name, conform(pixels, image_size=side, channels=channels))


def _own_batches(source: Path) -> list[Batch]:
    """Batches of `data add`; empty for another kind of source."""
    paths = batch_files(source) if source.is_dir() else (source,)
    try:
        return [read_batch(path) for path in paths if path.suffix == ".parquet"]
    except IntegrityError:
        return []


def _named(rows: Rows, numbers: dict[str, int]) -> Iterator[tuple[str, bytes | Pixels]]:
    if isinstance(rows, EncodedRows):
        yield from zip(rows.paths, rows.files, strict=True)
        return
    for pixels, split in zip(rows.pixels, rows.splits, strict=True):
        part = split or "images"
        yield f"{part}/{numbers.setdefault(part, 0)}", pixels
        numbers[part] += 1


def _predict(
    version: LoadedVersion, minibatch: list[_Picture], threads: int
) -> Iterator[Prediction]:
    lineage = version.files.lineage
    readable = [picture.pixels for picture in minibatch if picture.pixels is not None]
    probabilities: Iterator[NDArray[np.float32]] = iter(())
    milliseconds = 0.0
    if readable:
        began = time.perf_counter()
        answer = version.predict(conform_all(readable, lineage.image_shape), threads=threads)
        milliseconds = (time.perf_counter() - began) * 1000 / len(readable)
        probabilities = iter(answer)
    for picture in minibatch:
        if picture.pixels is None:
            yield Prediction(picture.name, None, None, None, picture.error)
            continue
        shares = [float(share) for share in next(probabilities)]
        label = lineage.classes[int(np.argmax(shares))]
        named = dict(zip(lineage.classes, shares, strict=True))
        yield Prediction(picture.name, label, named, round(milliseconds, 4))
