"""Assignment of images to splits by content and declaration alone.

Of an image's id, bytes 0-7 decide on test and bytes 8-15 on validation, as numbers uniform in
[0, 1). So adding batches, their order, file names and copies move no image, and shares are
binomial: of n images, the share of a split of fraction f is within 4 sqrt(f (1 - f) / n) of f,
except once in 15,000 draws, in each class too.
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
    """A row's declaration of its split; among an image's copies the greatest claim counts."""

    NONE = 0
    CARVED = 1
    """Declared train in a batch that declares no validation, which is carved from train."""
    TRAIN = 2
    VALIDATION = 3
    TEST = 4


TRAIN, VALIDATION, TEST = 0, 1, 2
"""Indices into SPLITS."""


@dataclass(frozen=True, slots=True)
class Copies:
    """Rows grouped by equal ids, in the order of the ids."""

    order: Indices
    """All rows, copies adjacent."""
    starts: Indices
    """Where each group begins in `order`."""

    @property
    def first(self) -> Indices:
        """The first row of each group."""
        return self.order[self.starts]

    @property
    def lengths(self) -> Indices:
        """Rows of each group."""
        return np.diff(self.starts, append=len(self.order))

    @property
    def group(self) -> Indices:
        """Number of the group at each place of `order`."""
        return np.repeat(np.arange(len(self.starts)), self.lengths)


def group_copies(ids: Ids, *, best_first: NDArray[np.int64] | None = None) -> Copies:
    """Group equal ids; within a group by greatest `best_first` first, then by row."""
    words = np.ascontiguousarray(ids).view(">u8").astype(np.uint64)
    keys = [*words.T[::-1]] if best_first is None else [-best_first, *words.T[::-1]]
    order = np.lexsort(keys)
    ordered = words[order]
    differs = np.any(ordered[1:] != ordered[:-1], axis=1)
    return Copies(order, np.flatnonzero(np.concatenate([np.ones(len(ids[:1]), bool), differs])))


def has_two_labels(copies: Copies, labels: NDArray[np.int64]) -> NDArray[np.bool_]:
    """For each group, whether its rows have more than one label."""
    ordered = labels[copies.order]
    lowest = np.minimum.reduceat(ordered, copies.starts)
    differ: NDArray[np.bool_] = lowest != np.maximum.reduceat(ordered, copies.starts)
    return differ


def carve_validation(claims: NDArray[np.int8]) -> NDArray[np.int8]:
    """Mark a batch's declared train for carving where the batch declares no validation."""
    if np.any(claims == Claim.VALIDATION):
        return claims
    return np.where(claims == Claim.TRAIN, np.int8(Claim.CARVED), claims)


def split_of(ids: Ids, claims: NDArray[np.int8], fractions: Fractions) -> NDArray[np.int8]:
    """Return the split of each image, an index into SPLITS, by id and claim."""
    words = np.ascontiguousarray(ids[:, :16]).view(">u8").astype(np.uint64)
    # 53 bits, which a float64 represents exactly, so that 1.0 is never reached.
    for_test, for_validation = ((words >> np.uint64(11)) / 2.0**53).T
    of_the_rest = fractions.validation / (1 - fractions.test)
    hashed = np.where(for_validation < of_the_rest, VALIDATION, TRAIN)
    hashed = np.where(for_test < fractions.test, TEST, hashed)
    carved = np.where(for_validation < fractions.validation, VALIDATION, TRAIN)
    declared = claims.astype(np.int8) - np.int8(Claim.TRAIN)
    splits = np.where(claims == Claim.NONE, hashed, declared)
    return np.where(claims == Claim.CARVED, carved, splits).astype(np.int8)
