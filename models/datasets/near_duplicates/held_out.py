"""Near duplicates across splits: held-out images that are nearly an image of another split."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from models.datasets.image_statistics import ImageStatistics
from models.datasets.near_duplicates.near_copies import near_copies
from models.datasets.splits import TEST, VALIDATION, Indices

MAX_BITS = 4
"""Of 64 bits of the difference hash that may differ."""
MAX_LEVELS = 3.0
"""Root mean square of the grey levels that two thumbnails may differ by, brightness equalised."""
_BLOCK = 2**22


@dataclass(frozen=True, slots=True)
class NearDuplicates:
    """Result of a search for near duplicates."""

    pairs: list[tuple[int, int]]
    """(held-out image, image of another split), as positions in what was searched."""
    compared: int
    """Held-out images that were compared."""
    held_out: int
    """Held-out images in all."""


def near_duplicates(
    statistics: ImageStatistics, splits: NDArray[np.int8], *, max_comparisons: int
) -> NearDuplicates:
    """Find test images near to train or validation, and validation images near to train.

    Candidates differ in at most MAX_BITS of their hashes and are confirmed by their thumbnails;
    those of images that have outlines are found by `near_copies`, too. Above max_comparisons pairs
    only the first held-out images are compared: a random sample where the images are in the order
    of their ids.
    """
    hashes = statistics.hashes
    held_out = np.flatnonzero(splits >= VALIDATION)
    allowed = min(len(held_out), max_comparisons // max(1, len(splits)))
    sample = held_out[:allowed]
    pairs = [
        pair
        for split in (VALIDATION, TEST)
        for pair in _near(
            statistics, hashes, sample[splits[sample] == split], np.flatnonzero(splits < split)
        )
    ]
    pairs += _near_copies(statistics, splits, sample)
    return NearDuplicates(list(dict.fromkeys(pairs)), len(sample), len(held_out))


def _near_copies(
    statistics: ImageStatistics, splits: NDArray[np.int8], sample: Indices
) -> Iterator[tuple[int, int]]:
    """Yield near copies in another split of the images of the sample that have outlines."""
    outlined = statistics.outlined
    sought = np.flatnonzero(np.isin(outlined, sample))
    if not len(sought):
        return
    found = near_copies(statistics.outlines, sought)
    held_out, other = outlined[found.first], outlined[found.second]
    across = splits[other] < splits[held_out]
    yield from zip(held_out[across].tolist(), other[across].tolist(), strict=True)


def _near(
    statistics: ImageStatistics, hashes: NDArray[np.uint64], some: Indices, others: Indices
) -> Iterator[tuple[int, int]]:
    thumbnails = statistics.thumbnails
    step = max(1, _BLOCK // max(1, len(others)))
    for start in range(0, len(some), step):
        rows = some[start : start + step]
        bits = np.bitwise_count(hashes[rows][:, None] ^ hashes[others][None, :])
        mine, theirs = np.nonzero(bits <= MAX_BITS)
        close = _agree(thumbnails[rows[mine]], thumbnails[others[theirs]])
        yield from zip(rows[mine[close]].tolist(), others[theirs[close]].tolist(), strict=True)


def _agree(one: NDArray[np.uint8], other: NDArray[np.uint8]) -> NDArray[np.bool_]:
    difference = one.astype(np.float32) - other
    agree: NDArray[np.bool_] = difference.std(axis=(1, 2)) <= MAX_LEVELS
    return agree
