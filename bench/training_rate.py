"""Training rate: images a second of one trial on one core, beside a hand-written PyTorch loop.

Usage: python bench/training_rate.py [--output bench/results/training_rate.txt]   (2 minutes)

Both train the article's CNN with Adam on the same 12,000 images of Fashion-MNIST and validate on
the same images after each epoch, in processes of their own, pinned to one core, in turns. The
hand-written loop is the usual one: DataLoader over a TensorDataset of normalised floats, shuffled;
convolution, ReLU, pool; torch's default Adam. pitchpipe's is `train_trial` as it is, Lightning,
checkpoints and history included.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from models.config import DataParams, Fractions, SplitName, TrialConfig
from models.datasets.batches import write_batch
from models.datasets.prepare import prepare
from models.datasets.prepared import open_split, read_manifest
from models.datasets.sources.builtin import fashion_mnist
from models.training.fit import train_trial
from models.training.source import package_versions
from models.training.worker import ALLOCATOR_ENVIRONMENT
from models.trials import EpochRecord, TrialResult, TrialSpec

FASHION_MNIST = Path("/usr/share/datasets/fashion-mnist")
EPOCHS = 3
ROUNDS = 3
CORE = max(os.sched_getaffinity(0))


@dataclass(frozen=True, slots=True)
class Measured:
    """What one side did in one process."""

    wall: list[float]
    """Train images a second, an epoch each, validation's time included."""
    cpu: list[float]
    """Likewise a second of the processor's time, which other processes disturb less."""
    accuracy: float
    """On validation, after the last epoch."""


class Instant(NamedTuple):
    """Two clocks, in seconds."""

    wall: float
    cpu: float

    @classmethod
    def now(cls) -> "Instant":
        return cls(time.perf_counter(), time.process_time())


def measured(ends: list[Instant], prepared: Path, accuracy: float) -> Measured:
    """Rates between the ends of epochs."""
    images = read_manifest(prepared).splits["train"].images
    return Measured(
        wall=[images / (end.wall - begin.wall) for begin, end in pairwise(ends)],
        cpu=[images / (end.cpu - begin.cpu) for begin, end in pairwise(ends)],
        accuracy=accuracy,
    )


def plain(prepared: Path, minibatch: int) -> Measured:
    """Train by a loop as one writes it by hand."""
    torch.set_num_threads(1)
    torch.manual_seed(0)
    network = plain_network()
    optimizer = torch.optim.Adam(network.parameters(), lr=0.001)
    train = DataLoader(pixels(prepared, "train"), batch_size=minibatch, shuffle=True)
    validation = DataLoader(pixels(prepared, "validation"), batch_size=500)
    loss_of, ends, right = nn.CrossEntropyLoss(), [Instant.now()], 0
    for _ in range(EPOCHS):
        for images, labels in train:
            optimizer.zero_grad()
            loss_of(network(images), labels).backward()
            optimizer.step()
        with torch.no_grad():
            right = sum(
                int((network(images).argmax(1) == labels).sum()) for images, labels in validation
            )
        ends.append(Instant.now())
    return measured(ends, prepared, right / len(validation.dataset))  # type: ignore[arg-type]


def pixels(prepared: Path, name: SplitName) -> TensorDataset:
    """A split as normalised floats."""
    manifest, split = read_manifest(prepared), open_split(prepared, name, verify=False)
    images = (torch.tensor(split.images) / 255 - manifest.mean[0]) / manifest.std[0]
    return TensorDataset(images, torch.tensor(split.labels))


def plain_network() -> nn.Module:
    """The article's network."""
    return nn.Sequential(
        *(nn.Conv2d(1, 32, 3), nn.ReLU(), nn.MaxPool2d(2)),
        *(nn.Conv2d(32, 64, 3), nn.ReLU(), nn.MaxPool2d(2)),
        *(nn.Conv2d(64, 64, 3), nn.ReLU(), nn.Flatten()),
        *(nn.Linear(576, 64), nn.ReLU(), nn.Linear(64, 10)),
    )


def pitchpipe(prepared: Path, minibatch: int) -> Measured:
    """Train by train_trial."""
    manifest = read_manifest(prepared)
    spec = TrialSpec(
        config=TrialConfig(minibatch_size=minibatch),
        dataset=manifest.digest,
        source="0" * 64,
        versions=package_versions(),
    )
    records: list[EpochRecord] = []
    ends = [Instant.now()]

    def on_epoch(record: EpochRecord) -> None:
        records.append(record)
        ends.append(Instant.now())

    with tempfile.TemporaryDirectory() as folder:
        outcome = train_trial(
            spec, Path(folder) / "t", prepared=prepared, budget=EPOCHS, on_epoch=on_epoch
        )
    assert isinstance(outcome, TrialResult)
    # From one epoch's end to the next: checkpoint and history are in it.
    return measured(ends, prepared, records[-1].validation_accuracy)


SIDES = {"plain PyTorch": plain, "pitchpipe": pitchpipe, "pitchpipe, plain malloc": pitchpipe}


def measure(side: str, prepared: Path, minibatch: int) -> Measured:
    """Run one side in a process of its own, on one core."""
    tuned = ALLOCATOR_ENVIRONMENT if side == "pitchpipe" else {}
    done = subprocess.run(
        [sys.executable, __file__, "--side", side, str(prepared), str(minibatch)],
        env={**os.environ, **tuned},
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        sys.exit(f"{side}: {done.stderr}")
    return Measured(**json.loads(done.stdout.splitlines()[-1]))


def prepared_images(folder: Path) -> Path:
    """Prepare 12,000 images for training and 1,800 for validation."""
    data = DataParams(
        name="fashion-mnist", limit=12_000, fractions=Fractions(validation=0.03, test=0.2)
    )
    source = fashion_mnist(FASHION_MNIST)
    (folder / "raw").mkdir()
    write_batch(folder / "raw" / "batch.parquet", source.classes, source.rows())
    prepare(folder / "raw", folder / "prepared", data)
    return folder / "prepared"


def table(prepared: Path) -> Iterator[str]:
    """Measure all in turns; yield the lines of the table."""
    splits = read_manifest(prepared).splits
    yield f"{splits['train'].images} train, {splits['validation'].images} validation images"
    yield f"one core of {os.cpu_count()}; load {os.getloadavg()[0]:.1f} at the start"
    yield f"median of {ROUNDS * EPOCHS} epochs in {ROUNDS} processes\n"
    yield "images/s of wall time and of processor time, which a busy machine disturbs less\n"
    yield f"{'minibatch':>9}  {'side':<24} {'wall':>5} {'ratio':>6} {'cpu':>6} {'ratio':>6}  right"
    for minibatch in (32, 128):
        runs: dict[str, list[Measured]] = {side: [] for side in SIDES}
        for _ in range(ROUNDS):
            for side, found in runs.items():
                found.append(measure(side, prepared, minibatch))
        yield from rows(minibatch, runs)


def rows(minibatch: int, runs: dict[str, list[Measured]]) -> Iterator[str]:
    """One line for each side; ratios are to the first."""
    base = Instant(0.0, 0.0)
    for side, found in runs.items():
        wall = statistics.median(rate for run in found for rate in run.wall)
        cpu = statistics.median(rate for run in found for rate in run.cpu)
        base = base if base.wall else Instant(wall, cpu)
        yield (
            f"{minibatch:>9}  {side:<24} {wall:>5.0f} {wall / base.wall:>6.2f} {cpu:>6.0f} "
            f"{cpu / base.cpu:>6.2f}  {found[-1].accuracy:.3f}"
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--output", type=Path)
    parser.add_argument("--side", nargs=3, metavar=("SIDE", "PREPARED", "MINIBATCH"))
    options = parser.parse_args()
    if options.side:
        side, prepared, minibatch = options.side
        os.sched_setaffinity(0, {CORE})
        print(json.dumps(asdict(SIDES[side](Path(prepared), int(minibatch)))))
        return
    with tempfile.TemporaryDirectory() as folder:
        lines = []
        for line in table(prepared_images(Path(folder))):
            print(line, flush=True)
            lines.append(line)
    if options.output:
        options.output.write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
