"""Rows: labelled images on their way from a source into a batch, and from a batch into arrays."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from models.config import SplitName

SPLITS: tuple[SplitName, ...] = ("train", "validation", "test")

Labels: TypeAlias = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class PixelRows:
    """Images as pixels, all of one shape."""

    pixels: NDArray[np.uint8]
    """(n, height, width, channels)."""
    labels: Labels
    """(n,), indices into the classes."""
    splits: tuple[SplitName | None, ...]
    """n declared splits; None: not declared."""


@dataclass(frozen=True, slots=True)
class EncodedRows:
    """Images as the files they were: PNG, JPEG, ..."""

    files: tuple[bytes, ...]
    paths: tuple[str, ...]
    """Where each came from, relative to the source; for people, never for identity."""
    labels: Labels
    splits: tuple[SplitName | None, ...]


Rows: TypeAlias = PixelRows | EncodedRows


@dataclass(frozen=True, slots=True)
class Source:
    """Labelled images that can become a batch."""

    name: str
    """Default name of the batch: lower-case letters, digits, hyphens."""
    classes: tuple[str, ...]
    """Names; a label is an index into them."""
    rows: Callable[[], Iterator[Rows]]
    """Read the images, a bounded piece at a time; all pieces are of one kind."""
    warnings: tuple[str, ...] = ()
    """What was passed over while looking, in sentences."""
