"""What the PyTorch peers have in common: the images, the article's network, and a loop.

A form says how the loop is written: as tutorials write it, or as who wants speed does.
"""

import argparse
import itertools
import json
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

AXES = {"learning_rate": [0.001, 0.003], "minibatch_size": [32, 128], "hidden_units": [64, 128]}


@dataclass(frozen=True, slots=True)
class Form:
    """How a loop is written."""

    sliced: bool = False
    """Minibatches are rows of one tensor, else a DataLoader's."""
    loader_workers: int = 0
    """Processes of the DataLoader."""
    channels_last: bool = False
    bf16: bool = False
    """Forward pass under autocast to bfloat16."""
    fused: bool = False
    """Adam's step as one kernel."""
    compiled: bool = False
    """The network by torch.compile, its compilation counted."""


_FAST = Form(sliced=True, channels_last=True, bf16=True, fused=True)
FORMS = {
    "plain": Form(),
    "workers": Form(loader_workers=2),
    "fast": _FAST,
    "fast32": replace(_FAST, bf16=False),
    "compiled": replace(_FAST, compiled=True),
}


@dataclass(frozen=True, slots=True)
class Arguments:
    """What each peer is called with."""

    prepared: Path
    epochs: int
    form: str

    @property
    def processes(self) -> bool:
        """Whether trials run in processes of their own, one a core."""
        return self.form not in ("plain", "workers")


@dataclass(frozen=True, slots=True)
class Point:
    """One trial of the grid."""

    learning_rate: float
    minibatch_size: int
    hidden_units: int


@dataclass(frozen=True, slots=True)
class Images:
    """Two splits as normalised floats, (n, 1, height, width), with their labels."""

    train: TensorDataset
    validation: TensorDataset


@dataclass(frozen=True, slots=True)
class Trained:
    """One trial: when it began and ended, seconds since 1970, and its best accuracy."""

    began: float
    ended: float
    accuracy: float


def arguments() -> Arguments:
    parser = argparse.ArgumentParser()
    parser.add_argument("prepared", type=Path)
    parser.add_argument("--epochs", type=int, default=3)
    parser.add_argument("--form", choices=FORMS, default="plain")
    given = parser.parse_args()
    return Arguments(given.prepared, given.epochs, given.form)


def grid() -> Iterator[Point]:
    return itertools.starmap(Point, itertools.product(*AXES.values()))


def load_images(prepared: Path) -> Images:
    train, validation = (
        torch.tensor(np.load(prepared / name / "images.npy")) / 255
        for name in ("train", "validation")
    )
    mean, std = train.mean(), train.std()
    labels = {
        name: torch.tensor(np.load(prepared / name / "labels.npy"))
        for name in ("train", "validation")
    }
    return Images(
        TensorDataset((train - mean) / std, labels["train"]),
        TensorDataset((validation - mean) / std, labels["validation"]),
    )


def network(hidden_units: int) -> nn.Module:
    """The article's: 93,322 parameters with 64 hidden units."""
    return nn.Sequential(
        *(nn.Conv2d(1, 32, 3), nn.ReLU(), nn.MaxPool2d(2)),
        *(nn.Conv2d(32, 64, 3), nn.ReLU(), nn.MaxPool2d(2)),
        *(nn.Conv2d(64, 64, 3), nn.ReLU(), nn.Flatten()),
        *(nn.Linear(576, hidden_units), nn.ReLU(), nn.Linear(hidden_units, 10)),
    )


def train(
    point: Point,
    images: Images,
    epochs: int,
    on_epoch: Callable[[float], None] | None = None,
    *,
    form: str = "plain",
) -> Trained:
    """Train by a loop as one writes it by hand; on_epoch hears each epoch's accuracy."""
    began = time.time()
    written = FORMS[form]
    classifier = network(point.hidden_units)
    if written.channels_last:
        classifier = classifier.to(memory_format=torch.channels_last)
    asked = torch.compile(classifier) if written.compiled else classifier
    fused = {"fused": True} if written.fused else {}
    optimizer = torch.optim.Adam(classifier.parameters(), lr=point.learning_rate, **fused)
    loss_of = nn.CrossEntropyLoss()
    best = 0.0
    for _ in range(epochs):
        classifier.train()
        for pixels, labels in minibatches(images.train, point.minibatch_size, written):
            optimizer.zero_grad()
            with torch.autocast("cpu", torch.bfloat16, enabled=written.bf16):
                logits = asked(pixels)
            loss_of(logits.float(), labels).backward()
            optimizer.step()
        accuracy = validated(classifier, images.validation)
        best = max(best, accuracy)
        if on_epoch is not None:
            on_epoch(accuracy)
    return Trained(began, time.time(), best)


def minibatches(
    images: TensorDataset, size: int, form: Form
) -> Iterable[tuple[torch.Tensor, torch.Tensor]]:
    """One epoch, in a random order."""
    if not form.sliced:
        return DataLoader(images, batch_size=size, shuffle=True, num_workers=form.loader_workers)
    pixels, labels = images.tensors
    if form.channels_last:
        pixels = pixels.contiguous(memory_format=torch.channels_last)
    return ((pixels[rows], labels[rows]) for rows in torch.randperm(len(images)).split(size))


def validated(classifier: nn.Module, images: TensorDataset) -> float:
    classifier.eval()
    right = 0
    with torch.no_grad():
        for pixels, labels in DataLoader(images, batch_size=500):
            right += int((classifier(pixels).argmax(1) == labels).sum())
    return right / len(images)


def report(trials: list[Trained]) -> None:
    """Print what bench/grid.py reads: the last line of standard output."""
    print(json.dumps([asdict(trial) for trial in trials]))
