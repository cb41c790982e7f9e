"""Overhead: what a search costs beside training.

Usage: python bench/overhead.py [--output bench/results/overhead.txt] [--long]   (2 minutes; 12)

Bookkeeping: a grid whose trials a stub trains, as the search's loop has them handed out and takes
their outcomes; the stub's own time, Prefect's submission and the mirror are left out. Cached: a
grid that the store answers whole, by `pitchpipe tune`, from the process's start to its end. --long:
16 trials of about a minute on two workers, by `pitchpipe tune`: the share of its wall time that is
not training.
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from flows.datasets.current import PREPARED
from flows.records.trial_store import directory_of
from flows.search.progress import Observers, SearchProgress
from flows.search.search import Search
from flows.search.state import SearchState
from flows.search.tuning import SearchTrial
from models.config import Params, load_params
from models.datasets.prepared import read_manifest
from models.digests import digest_of
from models.files import append_line, write_text
from models.search.strategy import Job
from models.trials import EpochRecord, TrialFiles, TrialResult, result_path

REPOSITORY = Path(__file__).resolve().parent.parent
PITCHPIPE = Path(sys.executable).parent / "pitchpipe"
PROJECT_FILES = ("params.yaml", "dvc.yaml", ".dvcignore", ".dvc/config", ".dvc/.gitignore")
WINDOW = 100
CACHED = (
    "data.limit=400",
    "search.epochs=1",
    "trial.network={name: mlp, hidden_units: 8, hidden_layers: 1}",
    (
        "search.axes={network.hidden_units: [8, 12, 16, 24], minibatch_size: [16, 32, 64, 128], "
        "seed: [0, 1, 2, 3]}"
    ),
)
"""64 trials that train in a blink."""
MINUTES = (
    "data.name=fashion-mnist",
    "data.limit=12000",
    "search.epochs=13",
    f"search.axes={{seed: {list(range(16))}}}",
)
"""16 trials of the article's CNN, a minute each on a core of the machine this was written on."""


@dataclass(slots=True)
class Timed:
    """A search's bookkeeping, trial by trial."""

    seconds: list[float] = field(default_factory=list)

    def window(self, after: int) -> float:
        """Mean milliseconds a trial, of those that follow the first `after`."""
        part = self.seconds[after : after + WINDOW]
        return 1000 * sum(part) / len(part)


def stub(trial: SearchTrial, job: Job) -> TrialResult:
    """Leave what a trained trial leaves, but for its weights."""
    directory, score = directory_of(trial.key), int(trial.key[:4], 16) / 0x10000
    record = EpochRecord(
        epoch=1,
        train_loss=1.0,
        train_accuracy=score,
        validation_loss=1 - score,
        validation_accuracy=score,
        validation_f1_macro=score,
        learning_rate=0.001,
        seconds=60.0,
    )
    result = TrialResult(
        key=trial.key,
        config=trial.spec.config,
        budget=job.budget,
        epochs=1,
        best_epoch=1,
        scores=record.scores,
        seconds=60.0,
        checkpoint="epoch-0001.ckpt",
        checkpoint_digest=digest_of(trial.key),
        weights_digest=digest_of(trial.key),
    )
    text = result.model_dump_json(indent=2) + "\n"
    write_text(directory / TrialFiles.SPEC, trial.spec.model_dump_json(indent=2) + "\n")
    append_line(directory / TrialFiles.HISTORY, record.model_dump_json())
    write_text(result_path(directory, job.budget), text)
    write_text(directory / TrialFiles.RESULT, text)
    return result


def run_stubbed(state: SearchState, timed: Timed) -> None:
    """Have every trial handed out, trained by the stub, and its outcome taken."""
    while True:
        began = time.perf_counter()
        taken = state.next_missing()
        asked = time.perf_counter() - began
        if taken is None:
            return
        job, trial = taken
        outcome = stub(trial, job)
        began = time.perf_counter()
        state.record(job, outcome)
        timed.seconds.append(asked + time.perf_counter() - began)


def stubbed(trials: int) -> Params:
    """A grid of so many trials of one epoch."""
    return load_params(
        Path("params.yaml"), (*CACHED[:3], f"search.axes={{seed: {list(range(10, 10 + trials))}}}")
    )


def bookkeeping(trials: int) -> Iterator[str]:
    params, manifest, timed = stubbed(trials), read_manifest(PREPARED), Timed()
    with SearchProgress(
        total=trials, epochs=trials, budget=1, objective=params.trial.objective
    ) as progress:
        began = time.perf_counter()
        state = Search(params, manifest, "cpu").start(Observers((progress,)))
        opened = time.perf_counter() - began
        run_stubbed(state, timed)
        state.close()
    began = time.perf_counter()
    preview = Search(params, manifest, "cpu").preview
    planned = time.perf_counter() - began
    yield f"bookkeeping a trial, a grid of {trials:,}, by how many had finished before; 50 ms asked"
    for after in (0, trials // 100, trials // 10, trials - WINDOW):
        yield f"{timed.window(after):>9.2f} ms  after {after:,}"
    yield f"{1000 * opened:>9.2f} ms  opening the search of them all, once"
    yield f"{1000 * planned / preview.total:>9.2f} ms  a trial, to find all of them in the store"
    began = time.perf_counter()
    pitchpipe("trials", "--json")
    yield f"{time.perf_counter() - began:>9.2f} s   `pitchpipe trials --json`, all of them listed\n"


def cached() -> Iterator[str]:
    tune(CACHED)
    began = time.perf_counter()
    counts = tune(CACHED)["trials"]
    seconds = time.perf_counter() - began
    yield f"{seconds:>9.2f} s   `pitchpipe tune`, {counts['cached']} trials cached; 10 s asked\n"


def minutes() -> Iterator[str]:
    pitchpipe("prepare", *words(MINUTES))
    tune((*MINUTES[:2], "search.epochs=1", "search.axes={seed: [99]}"))  # makes the databases
    began = time.perf_counter()
    document = tune(MINUTES, "--workers", "2")
    wall = time.perf_counter() - began
    seconds = [entry["seconds"] for entry in document["leaderboard"]]
    share = 100 * (1 - sum(seconds) / 2 / wall)
    mean = sum(seconds) / len(seconds)
    yield f"{len(seconds)} trials of {mean:.0f} s on 2 workers, whole process"
    yield f"{wall:>9.1f} s   wall; {sum(seconds) / 2:.1f} s are training"
    yield f"{share:>9.1f} %   of the wall time is no training; 5 % asked\n"


def tune(overrides: Sequence[str], *options: str) -> Any:
    return json.loads(pitchpipe("tune", "--json", *options, *words(overrides)))


def words(overrides: Sequence[str]) -> list[str]:
    return [word for pair in overrides for word in ("--set", pair)]


def pitchpipe(*arguments: str) -> str:
    """Run to the end; return standard output, or stop the bench with what went wrong."""
    done = subprocess.run([PITCHPIPE, *arguments], capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(f"pitchpipe {' '.join(arguments)}: {done.returncode}\n{done.stderr[-2000:]}")
    return done.stdout


def table(*, trials: int, long: bool) -> Iterator[str]:
    yield f"{os.cpu_count()} cores, load {os.getloadavg()[0]:.1f} at the start\n"
    yield from cached()
    yield from bookkeeping(trials)
    if long:
        yield from minutes()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--output", type=Path)
    parser.add_argument("--trials", type=int, default=10_000)
    parser.add_argument("--long", action="store_true")
    options = parser.parse_args()
    output = options.output.resolve() if options.output else None
    lines = []
    with tempfile.TemporaryDirectory() as folder:
        for name in PROJECT_FILES:
            (Path(folder) / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(REPOSITORY / name, Path(folder) / name)
        os.chdir(folder)
        for line in table(trials=options.trials, long=options.long):
            print(line, flush=True)
            lines.append(line)
        os.chdir(REPOSITORY)
    if output:
        output.write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
