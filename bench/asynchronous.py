"""One trial by one process, by two with ddp, by two asynchronously: images a second, and scores.

Usage: python bench/asynchronous.py [--fashion] [--output FILE]   (1 minute; with --fashion 5)

The article's CNN with Adam at 0.001 and minibatches of 32, on the digits or on 12,000 images of
Fashion-MNIST, as `train_trial` trains it. Each training is in a process of its own, on two cores;
the three take turns, with another seed each round, and a fourth turn repeats the asynchronous one
of the same seed. Seconds are those of history.jsonl: an epoch with its validation.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from training_rate import prepared_images

from models.config import DataParams, TrialConfig
from models.datasets.batches import write_batch
from models.datasets.prepare import prepare
from models.datasets.prepared import read_manifest
from models.datasets.sources.builtin import digits
from models.training.fit import train_trial
from models.training.source import package_versions
from models.training.worker import ALLOCATOR_ENVIRONMENT
from models.trials import EpochRecord, TrialResult, TrialSpec, read_history

EPOCHS = 3
ROUNDS = 3
SIDES = {
    "one process": {},
    "ddp, 2 processes": {"devices": 2, "strategy": "ddp"},
    "async, 2 processes": {"devices": 2, "strategy": "async"},
    "async again": {"devices": 2, "strategy": "async"},
}


def train(side: str, prepared: Path, seed: int) -> tuple[EpochRecord, ...]:
    """Train one trial here; return its epochs."""
    manifest = read_manifest(prepared)
    spec = TrialSpec(
        config=TrialConfig.model_validate({"seed": seed, **SIDES[side]}),
        dataset=manifest.digest,
        source="0" * 64,
        versions=package_versions(),
    )
    with tempfile.TemporaryDirectory() as folder:
        trial = Path(folder) / "trial"
        outcome = train_trial(
            spec, trial, prepared=prepared, budget=EPOCHS, on_epoch=lambda _: None
        )
        assert isinstance(outcome, TrialResult)
        return read_history(trial)


def measure(side: str, prepared: Path, seed: int) -> tuple[EpochRecord, ...]:
    """Train in a process of its own, with the allocator as trials have it."""
    done = subprocess.run(
        [sys.executable, __file__, "--side", side, str(prepared), str(seed)],
        env={**os.environ, **ALLOCATOR_ENVIRONMENT, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        sys.exit(f"{side}: {done.stderr}")
    epochs = json.loads(done.stdout.splitlines()[-1])
    return tuple(EpochRecord.model_validate(epoch) for epoch in epochs)


def prepared_digits(folder: Path) -> Path:
    """Prepare scikit-learn's digits, as a project does."""
    source = digits()
    (folder / "raw").mkdir()
    write_batch(folder / "raw" / "batch.parquet", source.classes, source.rows())
    prepare(folder / "raw", folder / "prepared", DataParams())
    return folder / "prepared"


def table(prepared: Path) -> Iterator[str]:
    """Measure all in turns; yield the lines of the table."""
    splits = read_manifest(prepared).splits
    images = splits["train"].images
    yield f"{images} train, {splits['validation'].images} validation images, {EPOCHS} epochs"
    yield f"{os.cpu_count()} cores; load {os.getloadavg()[0]:.1f} at the start, other work counted"
    yield f"medians of {ROUNDS * EPOCHS} epochs; scores after the last one, {ROUNDS} seeds\n"
    runs: dict[str, list[tuple[EpochRecord, ...]]] = {side: [] for side in SIDES}
    for seed in range(ROUNDS):
        for side, found in runs.items():
            found.append(measure(side, prepared, seed))
    yield f"load {os.getloadavg()[0]:.1f} at the end\n"
    yield f"{'':<20} {'images/s':>8} {'ratio':>6}  {'accuracy':<26} {'cross-entropy':>13}"
    base = 0.0
    for side, found in runs.items():
        rate = statistics.median(images / epoch.seconds for run in found for epoch in run)
        base = base or rate
        last = [run[-1] for run in found]
        accuracies = " ".join(f"{epoch.validation_accuracy:.4f}" for epoch in last)
        loss = statistics.mean(epoch.validation_loss for epoch in last)
        yield f"{side:<20} {rate:>8.0f} {rate / base:>6.2f}  {accuracies:<26} {loss:>13.4f}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--output", type=Path)
    parser.add_argument("--fashion", action="store_true")
    parser.add_argument("--side", nargs=3, metavar=("SIDE", "PREPARED", "SEED"))
    options = parser.parse_args()
    if options.side:
        side, prepared, seed = options.side
        epochs = train(side, Path(prepared), int(seed))
        print(json.dumps([epoch.model_dump() for epoch in epochs]))
        return
    lines = []
    with tempfile.TemporaryDirectory() as folder:
        prepare_images = prepared_images if options.fashion else prepared_digits
        for line in table(prepare_images(Path(folder))):
            print(line, flush=True)
            lines.append(line)
    if options.output:
        options.output.write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
