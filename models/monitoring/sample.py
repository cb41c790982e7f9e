"""Images as the drift tests see them, in the order of their ids."""

import dataclasses
import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from models.evaluation.outcomes import Floats, Integers

_AT_ONCE = 1000
"""Images whose grey levels are in memory together."""


@dataclass(frozen=True, slots=True)
class Sample:
    """Statistics of n images, and what a version predicts for them."""

    ids: NDArray[np.uint8]
    """(n, 32): SHA-256 of each decoded picture."""
    times: Integers
    """(n,): how many copies of each there were."""
    brightness: Floats
    """(n,): mean grey level, 0..255."""
    contrast: Floats
    """(n,): standard deviation of the grey levels."""
    embeddings: Floats
    """(n, features)."""
    predicted: Integers
    """(n,): most probable class; of equal ones the first."""
    confidence: Floats
    """(n,): its probability."""
    labels: Integers
    """(n,): true class; -1 where it is not known."""

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def copies(self) -> int:
        """Repeated images, left out."""
        return int(self.times.sum()) - len(self)

    @property
    def digest(self) -> str:
        """SHA-256 (hex) over the ids, in their order."""
        return hashlib.sha256(np.ascontiguousarray(self.ids).data).hexdigest()


def sample_of(
    images: NDArray[np.uint8],
    ids: NDArray[np.uint8],
    *,
    probabilities: NDArray[np.float32],
    embeddings: NDArray[np.float32],
    labels: Integers | None = None,
) -> Sample:
    """Describe images (n, channels, height, width), whose ids are (n, 32).

    labels: (n,), in the order of the probabilities' columns; None: not known.
    """
    brightness, contrast = grey_levels(images)
    return Sample(
        ids=ids,
        times=np.ones(len(ids), np.int64),
        brightness=brightness,
        contrast=contrast,
        embeddings=embeddings.astype(np.float64),
        predicted=probabilities.argmax(axis=1).astype(np.int64),
        confidence=probabilities.max(axis=1).astype(np.float64),
        labels=np.full(len(ids), -1) if labels is None else labels,
    )


def grey_levels(images: NDArray[np.uint8]) -> tuple[Floats, Floats]:
    """Mean and standard deviation of the grey levels of images (n, channels, height, width).

    Both (n,), 0..255; n >= 1. A thousand at a time are read of images that are memory-mapped.
    """
    brightness, contrast = np.empty(len(images)), np.empty(len(images))
    for start in range(0, len(images), _AT_ONCE):
        part = slice(start, start + _AT_ONCE)
        grey = images[part].mean(axis=1, dtype=np.float64)
        brightness[part], contrast[part] = grey.mean(axis=(1, 2)), grey.std(axis=(1, 2))
    return brightness, contrast


def gather(pieces: Iterable[Sample], *, most: int) -> Sample:
    """Join at least one piece in the order of ids, keeping the `most` lowest: a random sample.

    Ids are hashes of content. However many images there are, only that many and one piece are in
    memory. Of images with one id one is kept and the copies are counted, since the tests assume
    independent images.
    """
    remaining = iter(pieces)
    kept = _lowest([next(remaining)], most)
    for piece in remaining:
        kept = _lowest([kept, piece], most)
    return kept


def _lowest(pieces: Sequence[Sample], most: int) -> Sample:
    joined = {
        field.name: np.concatenate([getattr(piece, field.name) for piece in pieces])
        for field in dataclasses.fields(Sample)
    }
    _, first, which = np.unique(joined["ids"], axis=0, return_index=True, return_inverse=True)
    times = np.zeros(len(first), np.int64)
    # Of an id that is kept no copy was cut before: it is among the lowest of fewer images, too.
    np.add.at(times, which.reshape(-1), joined["times"])
    kept = {name: values[first[:most]] for name, values in joined.items()}
    return Sample(**{**kept, "times": times[:most]})
