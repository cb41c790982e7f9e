"""Minibatches of an epoch: which images, in which order, in which portions."""

import itertools
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from models.config import TrialConfig
from models.datasets.prepared import Split
from models.optimizers import GdConfig
from models.training.joined import JoinedSplits
from models.training.seeding import generator
from models.training.subset import ChosenSplit

SLICE = 128
"""Images that go through the network at once, at most. It bounds memory for large minibatches, and
keeps their features in the cache."""
CHUNK = 640
"""Images handed to one call of training_step: what Lightning costs a call, here comes once in 20
minibatches of 32."""


@dataclass(frozen=True, slots=True)
class Slice:
    """Consecutive images of a chunk that go through the network at once."""

    start: int
    stop: int
    number: int
    """Position within the epoch, from 0; randomness hangs on it."""
    step: int
    """Optimiser step within the epoch, from 0."""
    minibatch: int
    """Images in the whole minibatch: what the sum of their losses is divided by."""
    last: bool
    """Whether the optimiser steps after it."""


@dataclass(frozen=True, slots=True)
class Chunk:
    """Images of several minibatches, gathered once."""

    images: Tensor
    """uint8 (n, channels, height, width)"""
    labels: Tensor
    """int64 (n,)"""
    slices: tuple[Slice, ...]


class Minibatches:
    """The train split in an order that is a function of (seed, epoch).

    An epoch has as many images as the split: every image once, or of each class the same number;
    or as many as asked for, where images come again once all have come.
    Images are gathered from the memory map: a split larger than memory trains, and concurrent
    trials share the pages.
    """

    def __init__(
        self,
        split: Split | JoinedSplits | ChosenSplit,
        config: TrialConfig,
        *,
        images: int | None = None,
    ) -> None:
        """images: of an epoch, at least as many as the split has; None: as many."""
        self._split = split
        self._seed, self._balanced = config.seed, config.sampling == "balanced"
        self._count = count = images or len(split.labels)
        full = isinstance(config.optimizer, GdConfig)
        slices = list(_slices(count, count if full else config.minibatch_size))
        self._chunks = _chunked(slices)
        self._steps = [
            tuple(parts) for _, parts in itertools.groupby(slices, key=lambda part: part.step)
        ]
        self.steps_per_epoch = len(self._steps)
        self._order = np.empty(0, dtype=np.int64)
        self._order_epoch = -1

    def __len__(self) -> int:
        return len(self._chunks)

    def chunk(self, epoch: int, number: int) -> Chunk:
        """Gather chunk `number` of an epoch; epochs count from 1, chunks from 0."""
        return self._gather(epoch, self._chunks[number])

    def minibatch(self, epoch: int, step: int) -> Chunk:
        """Gather the minibatch of one optimiser step of an epoch; steps count from 0."""
        return self._gather(epoch, self._steps[step])

    def _gather(self, epoch: int, slices: tuple[Slice, ...]) -> Chunk:
        origin = slices[0].start
        rows = self._rows(epoch)[origin : slices[-1].stop]
        return Chunk(
            images=torch.from_numpy(self._split.images[rows]),
            labels=torch.from_numpy(self._split.labels[rows]),
            slices=tuple(_moved(part, -origin) for part in slices),
        )

    def _rows(self, epoch: int) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
        if epoch != self._order_epoch:
            source = generator(self._seed, "order", epoch=epoch)
            self._order = self._draw(source).numpy()
            self._order_epoch = epoch
        return self._order

    def _draw(self, source: torch.Generator) -> Tensor:
        if self._balanced:
            labels = torch.from_numpy(np.array(self._split.labels))
            return balanced_order(labels, source, images=self._count)
        if self._count > len(self._split.labels):
            return _in_turns(torch.arange(len(self._split.labels)), self._count, source)
        return torch.randperm(self._count, generator=source)


def balanced_order(labels: Tensor, source: torch.Generator, *, images: int | None = None) -> Tensor:
    """Draw n rows of labels, (n,), int64: of each class that occurs as many, in random order.

    images: n; None: as many as there are labels.

    Where n does not divide, classes chosen at random have one more: each place of the order has
    each class with the same probability. A class's images come all once before any comes again.
    """
    count = images or len(labels)
    classes = torch.bincount(labels).nonzero().flatten()
    shares = torch.full((len(classes),), count // len(classes))
    shares[torch.randperm(len(classes), generator=source)[: count % len(classes)]] += 1
    rows = torch.cat(
        [
            _in_turns((labels == one).nonzero().flatten(), int(share), source)
            for one, share in zip(classes, shares, strict=True)
        ]
    )
    return rows[torch.randperm(len(rows), generator=source)]


def _in_turns(rows: Tensor, count: int, source: torch.Generator) -> Tensor:
    """Draw `count` of the rows, again and again in an order of its own each time round."""
    rounds = -(-count // len(rows))
    orders = torch.rand(rounds, len(rows), generator=source).argsort(dim=1, stable=True)
    return rows[orders].flatten()[:count]


def _slices(count: int, size: int) -> Iterator[Slice]:
    """Cut `count` images into minibatches of `size`, the last maybe smaller, cut to slices."""
    number = 0
    for step, begin in enumerate(range(0, count, size)):
        end = min(begin + size, count)
        for start in range(begin, end, SLICE):
            stop = min(start + SLICE, end)
            yield Slice(start, stop, number, step, end - begin, stop == end)
            number += 1


def _chunked(slices: list[Slice]) -> list[tuple[Slice, ...]]:
    chunks: list[list[Slice]] = []
    for part in slices:
        if not chunks or part.stop - chunks[-1][0].start > CHUNK:
            chunks.append([])
        chunks[-1].append(part)
    return [tuple(chunk) for chunk in chunks]


def _moved(part: Slice, offset: int) -> Slice:
    return Slice(
        part.start + offset, part.stop + offset, part.number, part.step, part.minibatch, part.last
    )
