"""Batch prediction for any images, with a bounded number of them in memory."""

import dataclasses
import itertools
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from pydantic import JsonValue

from flows.registry.loading import LoadedVersion
from models.datasets.pixels import Pixels, conform
from models.datasets.reading import read_images, stack_images, to_pixels
from models.datasets.sources.folder import SUFFIXES
from models.errors import InputError
from models.evaluation.inference import MINIBATCH
from models.processes import usable_cores


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

    @property
    def line(self) -> str:
        """Image, label or error, and the label's probability, separated by tabs."""
        share = f"{self.probabilities[self.label]:.4f}" if self.probabilities and self.label else ""
        return f"{self.image}\t{self.label or self.error}\t{share}"

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
        yield from _predict(version, minibatch, threads or usable_cores())
        count += len(minibatch)
    if count == 0:
        raise InputError(f"{source}: holds no image ({', '.join(sorted(SUFFIXES))})")


def _pictures(source: Path, version: LoadedVersion) -> Iterator[_Picture]:
    form = version.files.lineage.image_form
    for name, content in read_images(source):
        try:
            pixels = to_pixels(content)
        except InputError as error:
            yield _Picture(name, None, str(error))
        else:
            yield _Picture(name, conform(pixels, form))


def _predict(
    version: LoadedVersion, minibatch: list[_Picture], threads: int
) -> Iterator[Prediction]:
    lineage = version.files.lineage
    readable = [picture.pixels for picture in minibatch if picture.pixels is not None]
    probabilities: Iterator[NDArray[np.float32]] = iter(())
    milliseconds = 0.0
    if readable:
        began = time.perf_counter()
        answer = version.predict(stack_images(readable, lineage.image_form), threads=threads)
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
