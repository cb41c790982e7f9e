"""Labelled images on their way from a source into a batch, and from a batch into arrays."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from models.config import SplitName
from models.errors import InputError

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
    groups: tuple[str | None, ...] = ()
    """n names of groups that must share a split; None: no group. Empty: the source names none."""


@dataclass(frozen=True, slots=True)
class EncodedRows:
    """Images as files: PNG, JPEG, ..."""

    files: tuple[bytes | InputError, ...]
    """Content; an error for a file that could not be read."""
    paths: tuple[str, ...]
    """Relative to the source; shown to people, never part of an image's identity."""
    labels: Labels
    splits: tuple[SplitName | None, ...]
    groups: tuple[str | None, ...] = ()
    """As of PixelRows."""

    def take(self, rows: Sequence[int]) -> "EncodedRows":
        """Return these rows, in this order."""
        return EncodedRows(
            files=tuple(self.files[row] for row in rows),
            paths=tuple(self.paths[row] for row in rows),
            labels=self.labels[np.array(rows, np.int64)],
            splits=tuple(self.splits[row] for row in rows),
            groups=tuple(self.groups[row] for row in rows) if self.groups else (),
        )


Rows: TypeAlias = PixelRows | EncodedRows


@dataclass(frozen=True, slots=True)
class Source:
    """Labelled images that can become a batch."""

    name: str
    """Default name of the batch: lower-case letters, digits, hyphens."""
    classes: tuple[str, ...]
    """Names; a label is an index into them."""
    rows: Callable[[], Iterator[Rows]]
    """Reads the images in pieces of bounded size, all of one kind."""
    warnings: tuple[str, ...] = ()
    """Sentences about files that were ignored."""


@dataclass(frozen=True, slots=True)
class SourceFormat:
    """A format that sources come in, and how it is recognised."""

    name: str
    """What `--format` calls it."""
    read: Callable[[Path], Source]
    """Reads the source at a path; raises InputError where it is damaged."""
    is_folder: Callable[[Path, Sequence[str]], bool] = lambda _folder, _names: False
    """Whether a folder with these visible entries has the format."""
    is_file: Callable[[Path, bytes], bool] = lambda _path, _start: False
    """Whether a file has the format, by its path and its first eight bytes."""
