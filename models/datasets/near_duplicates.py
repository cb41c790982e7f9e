"""Near duplicates across splits: held-out pictures that are nearly one of another split."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from models.datasets.image_statistics import Looks
from models.datasets.splits import TEST, VALIDATION, Indices

MAX_BITS = 4
"""Of 64 bits of the difference hash that may differ."""
MAX_LEVELS = 3.0
"""Grey levels that two thumbs may differ by, root mean square, their brightness made equal."""
_BLOCK = 2**22


@dataclass(frozen=True, slots=True)
class NearDuplicates:
    """What the search came to."""

    pairs: list[tuple[int, int]]
    """(held-out image, image of another split), as positions in what was searched."""
    compared: int
    """Held-out images that were looked at."""
    held_out: int
    """Held-out images that there are."""


def near_duplicates(
    looks: Looks, splits: NDArray[np.int8], *, max_comparisons: int
) -> NearDuplicates:
    """Find test images near to train or validation, and validation images near to train.

    Candidates differ in at most MAX_BITS of their hashes and are confirmed by their thumbs. Beyond
    max_comparisons pairs only the first held-out images are compared: a random sample where the
    images are in the order of their ids.
    """
    hashes = looks.hashes
    held_out = np.flatnonzero(splits >= VALIDATION)
    allowed = min(len(held_out), max_comparisons // max(1, len(splits)))
    sample = held_out[:allowed]
    pairs = [
        pair
        for split in (VALIDATION, TEST)
        for pair in _near(
            looks, hashes, sample[splits[sample] == split], np.flatnonzero(splits < split)
        )
    ]
    return NearDuplicates(pairs, len(sample), len(held_out))


def _near(
    looks: Looks, hashes: NDArray[np.uint64], some: Indices, others: Indices
) -> Iterator[tuple[int, int]]:
    step = max(1, _BLOCK // max(1, len(others)))
    for start in range(0, len(some), step):
        rows = some[start : start + step]
        bits = np.bitwise_count(hashes[rows][:, None] ^ hashes[others][None, :])
        mine, theirs = np.nonzero(bits <= MAX_BITS)
        close = _thumbs_agree(looks.thumbs[rows[mine]], looks.thumbs[others[theirs]])
        yield from zip(rows[mine[close]].tolist(), others[theirs[close]].tolist(), strict=True)


def _thumbs_agree(one: NDArray[np.uint8], other: NDArray[np.uint8]) -> NDArray[np.bool_]:
    difference = one.astype(np.float32) - other
    agree: NDArray[np.bool_] = difference.std(axis=(1, 2)) <= MAX_LEVELS
    return agree
