"""The log of a shadow: how often two versions named the same class, and images on which not.

One folder for each pair, readable by its owner alone: images of users are private. Every file is
replaced as a whole, so that a log whose process was killed can be read.
"""

import base64
import zlib
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from models.config import Record, read_record
from models.files import write_text

SHADOWS = Path("mlruns/shadow")
COUNTS, LABELS, IMAGES = "counts.json", "labels.json", "images"


class Guess(Record):
    """The class that a version gives an image, and its probability."""

    label: str
    probability: float


class Disagreement(Record):
    """An image to which two versions give different classes."""

    image: str
    """Print of the image as the networks take it, 64 hex digits (models.datasets.by_id)."""
    at: str
    """ISO 8601, UTC."""
    champion: Guess
    challenger: Guess
    shape: tuple[int, int, int]
    """Channels, height, width."""
    pixels: str
    """Base64 of the deflated bytes."""

    def picture(self) -> NDArray[np.uint8]:
        """Return the image (channels, height, width)."""
        content = zlib.decompress(base64.b64decode(self.pixels))
        return np.frombuffer(content, np.uint8).reshape(self.shape)


class ShadowCounts(Record):
    """What two versions said of all images that both were asked."""

    name: str
    """Registered name."""
    champion: int
    challenger: int
    since: str
    """ISO 8601, UTC."""
    cells: tuple[tuple[str, str, int], ...] = ()
    """Class by the champion, class by the challenger, images."""
    skipped: int = 0
    """Images that the challenger was not asked: it was behind."""
    unlogged: int = 0
    """Disagreements without image: the log was full."""

    @property
    def images(self) -> int:
        """Number of images that both were asked."""
        return sum(count for _, _, count in self.cells)

    @property
    def agreed(self) -> int:
        """Of these, to how many they gave the same class."""
        return sum(count for one, other, count in self.cells if one == other)


class ShadowLabels(Record):
    """What people say of logged images: print -> class."""

    labels: dict[str, str]


@dataclass(frozen=True, slots=True)
class LogLimits:
    """Beyond either, no more images are kept; those that are there stay, and counts go on."""

    bytes: int = 256 * 2**20
    images: int = 1000


def folder_of(name: str, *, champion: int, challenger: int) -> Path:
    """Folder of a pair's log."""
    return SHADOWS / name / f"{challenger}-beside-{champion}"


def disagreement_of(
    image: NDArray[np.uint8], print_: str, *, pair: tuple[Guess, Guess]
) -> Disagreement:
    """Describe an image (channels, height, width) of which the pair, champion first, disagrees."""
    channels, height, width = image.shape
    return Disagreement(
        image=print_,
        at=datetime.now(UTC).isoformat(timespec="milliseconds"),
        champion=pair[0],
        challenger=pair[1],
        shape=(channels, height, width),
        pixels=base64.b64encode(zlib.compress(image.tobytes(), 1)).decode(),
    )


class ShadowLog:
    """The log of one pair, written by one thread."""

    def __init__(self, counts: ShadowCounts, limits: LogLimits) -> None:
        """counts: of a new log; one that is there already is gone on with."""
        self.folder = folder_of(counts.name, champion=counts.champion, challenger=counts.challenger)
        for folder in (SHADOWS, self.folder.parent, self.folder, self.folder / IMAGES):
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._counts = read_record(self.folder / COUNTS, ShadowCounts) or counts
        self._cells = Counter({(a, b): count for a, b, count in self._counts.cells})
        self.skipped, self.unlogged = self._counts.skipped, self._counts.unlogged
        self._limits = limits
        files = list((self.folder / IMAGES).glob("*.json"))
        self._prints = {path.stem.partition("-")[2] for path in files}
        self._bytes = sum(path.stat().st_size for path in files)
        self._last = max((int(path.stem.partition("-")[0]) for path in files), default=0)

    def count(self, champion: str, challenger: str) -> None:
        """Count an image by the classes that the two gave it."""
        self._cells[champion, challenger] += 1

    def add(self, found: Disagreement) -> bool:
        """Keep an image; each once. Return whether it is there."""
        if found.image in self._prints:
            return True
        text = found.model_dump_json()
        full = len(self._prints) >= self._limits.images
        if full or self._bytes + len(text) > self._limits.bytes:
            self.unlogged += 1
            return False
        self._last += 1
        write_text(self.folder / IMAGES / f"{self._last:06d}-{found.image}.json", text)
        self._prints.add(found.image)
        self._bytes += len(text)
        return True

    def save(self) -> None:
        """Write the counts, where they are not on disk."""
        cells = tuple((a, b, count) for (a, b), count in sorted(self._cells.items()))
        changed = {"cells": cells, "skipped": self.skipped, "unlogged": self.unlogged}
        counts = self._counts.model_copy(update=changed)
        if counts != self._counts or not (self.folder / COUNTS).exists():
            write_text(self.folder / COUNTS, counts.model_dump_json())
            self._counts = counts


def read_disagreements(folder: Path) -> tuple[Disagreement, ...]:
    """Read the images of a log in the order in which they came; unreadable ones are left out."""
    files = sorted((folder / IMAGES).glob("*.json"))
    found = (read_record(path, Disagreement) for path in files)
    return tuple(one for one in found if one is not None)


def read_labels(folder: Path) -> Mapping[str, str]:
    """Read what people have said of a log's images."""
    found = read_record(folder / LABELS, ShadowLabels)
    return found.labels if found else {}


def add_labels(folder: Path, labels: Mapping[str, str]) -> None:
    """Keep what people say of a log's images; the last word counts."""
    every = ShadowLabels(labels={**read_labels(folder), **labels})
    write_text(folder / LABELS, every.model_dump_json())
