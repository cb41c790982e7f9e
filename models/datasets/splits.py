"""Splits for life: where an image goes depends on its content and its declaration, nothing else.

Of its id, bytes 0-7 decide on test and bytes 8-15 on validation, as numbers uniform in [0, 1). So
adding batches, their order, file names and copies move no image, and shares are binomial: of n
images, a share f holds within 4 sqrt(f (1 - f) / n) but once in 15,000 draws, in each class too.
"""

from dataclasses import dataclass
from enum import IntEnum
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from models.config import Fractions

Indices: TypeAlias = NDArray[np.int64]
Ids: TypeAlias = NDArray[np.uint8]
"""(n, 32)."""


class Claim(IntEnum):
    """What a row says of its split; of an image's copies the greatest claim holds."""

    NONE = 0
    CARVED = 1
    """Declared train, in a batch that declares no validation: validation is carved from it."""
    TRAIN = 2
    VALIDATION = 3
    TEST = 4


TRAIN, VALIDATION, TEST = 0, 1, 2
"""Indices into SPLITS."""


@dataclass(frozen=True, slots=True)
class Copies:
    """Rows grouped by picture, in the order of their ids."""

    order: Indices
    """All rows, copies side by side."""
    starts: Indices
    """Where each picture's rows begin in `order`."""

    @property
    def first(self) -> Indices:
        """One row of each picture."""
        return self.order[self.starts]

    @property
    def lengths(self) -> Indices:
        """Rows of each picture."""
        return np.diff(self.starts, append=len(self.order))

    @property
    def group(self) -> Indices:
        """For each place in `order`, which picture it shows."""
        return np.repeat(np.arange(len(self.starts)), self.lengths)


def group_copies(ids: Ids, *, best_first: NDArray[np.int8] | None = None) -> Copies:
    """Group equal ids; within a group the greatest `best_first` leads, else the rows' own order."""
    words = np.ascontiguousarray(ids).view(">u8").astype(np.uint64)
    keys = [*words.T[::-1]] if best_first is None else [-best_first, *words.T[::-1]]
    order = np.lexsort(keys)
    ordered = words[order]
    differs = np.any(ordered[1:] != ordered[:-1], axis=1)
    return Copies(order, np.flatnonzero(np.concatenate([np.ones(len(ids[:1]), bool), differs])))


def split_of(ids: Ids, claims: NDArray[np.int8], fractions: Fractions) -> NDArray[np.int8]:
    """Return each image's split, as an index into SPLITS, from its id and its claim."""
    words = np.ascontiguousarray(ids[:, :16]).view(">u8").astype(np.uint64)
    # 53 bits: what a float64 holds exactly, so that 1.0 is never reached.
    for_test, for_validation = ((words >> np.uint64(11)) / 2.0**53).T
    of_the_rest = fractions.validation / (1 - fractions.test)
    hashed = np.where(for_validation < of_the_rest, VALIDATION, TRAIN)
    hashed = np.where(for_test < fractions.test, TEST, hashed)
    carved = np.where(for_validation < fractions.validation, VALIDATION, TRAIN)
    declared = claims.astype(np.int8) - np.int8(Claim.TRAIN)
    splits = np.where(claims == Claim.NONE, hashed, declared)
    return np.where(claims == Claim.CARVED, carved, splits).astype(np.int8)


def picture_splits(
    ids: Ids, claims: NDArray[np.int8], fractions: Fractions
) -> tuple[Ids, NDArray[np.int8]]:
    """Return each picture once, by id, and the split that its rows give it together."""
    copies = group_copies(ids)
    greatest = np.maximum.reduceat(claims[copies.order], copies.starts)
    once = ids[copies.first]
    return once, split_of(once, greatest, fractions)
