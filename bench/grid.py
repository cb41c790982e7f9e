"""Exhaustive grid: 8 trials by pitchpipe and by its peers, side by side in one run.

Usage: python bench/grid.py [--rounds 3] [--output bench/results/grid.txt]

All train the article's CNN for 3 epochs on the same 12,000 images of Fashion-MNIST, and validate it
on the same 1,803 after each epoch, over learning rate {0.001, 0.003} x minibatch {32, 128} x hidden
units {64, 128}. Peers are scripts in bench/peers/, run by an environment of their own (`make
bench-peers-env`), and read the arrays that pitchpipe prepared. Each runs as people usually write
it, and in its best form: a process a core, minibatches sliced from one tensor, channels last,
bfloat16, Adam fused (Keras: bfloat16). pitchpipe's is `pitchpipe tune` as users type it, Prefect,
MLflow, checkpoints and history included, in a project whose databases exist and whose trial store
is empty; with float32, and with `precision: auto`. Rounds are interleaved, and of each entrant the
median counts.
"""

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import yaml

from models.datasets.prepared import read_manifest

REPOSITORY = Path(__file__).resolve().parent.parent
PEERS = Path(__file__).resolve().parent / "peers"
PEERS_PYTHON = Path(os.environ.get("PEERS_PYTHON", REPOSITORY / "bench/.peers/bin/python"))
PITCHPIPE = Path(sys.executable).parent / "pitchpipe"
PROJECT_FILES = ("dvc.yaml", ".dvcignore", ".dvc/config", ".dvc/.gitignore")


@dataclass(frozen=True, slots=True)
class Entrant:
    """Who runs the grid."""

    name: str
    arguments: tuple[str, ...]
    """Of `pitchpipe tune`, or of the Python of peers."""
    peer: Literal["usual", "best"] | None = None
    """The form of a peer; None: pitchpipe."""


AUTO = Entrant("pitchpipe, precision: auto", ("--set", "trial.precision=auto"))
ENTRANTS = (
    Entrant("pitchpipe, float32", ()),
    AUTO,
    Entrant("KerasTuner GridSearch", ("keras_tuner_grid.py",), "usual"),
    Entrant("KerasTuner, best", ("keras_tuner_grid.py", "--form", "fast"), "best"),
    Entrant("PyTorch loop", ("pytorch_loop.py",), "usual"),
    Entrant("PyTorch loop, 2 loader workers", ("pytorch_loop.py", "--form", "workers"), "usual"),
    Entrant("PyTorch loop, best", ("pytorch_loop.py", "--form", "fast"), "best"),
    Entrant("the same in float32", ("pytorch_loop.py", "--form", "fast32"), "best"),
    Entrant("the same by torch.compile", ("pytorch_loop.py", "--form", "compiled"), "best"),
    Entrant("Ray Tune, 2 trials at a time", ("ray_tune_grid.py",), "usual"),
    Entrant("Ray Tune, best", ("ray_tune_grid.py", "--form", "fast"), "best"),
    Entrant("Optuna, 2 threads", ("optuna_grid.py",), "usual"),
    Entrant("Optuna, best", ("optuna_grid.py", "--form", "fast"), "best"),
)
ASKED = {"usual": (2.0, 1.7), "best": (1.3, None)}
"""Times the images/s of the best peer of a form, and times less of the whole process."""
AXES = {
    "optimizer.learning_rate": [0.001, 0.003],
    "minibatch_size": [32, 128],
    "network.hidden_units": [64, 128],
}


@dataclass(frozen=True, slots=True)
class Size:
    """How much is trained."""

    images: int
    epochs: int


@dataclass(frozen=True, slots=True)
class Trial:
    """One trial: seconds since 1970, and the best of its validation accuracies."""

    began: float
    ended: float
    accuracy: float


@dataclass(frozen=True, slots=True)
class Ran:
    """One entrant's run."""

    entrant: Entrant
    whole: float
    """Wall seconds of the process, from its start to its end."""
    cpu: float
    """Seconds of the processor, all its processes."""
    trials: list[Trial]

    @property
    def span(self) -> float:
        """Seconds from the first trial's start to the last one's end."""
        return max(t.ended for t in self.trials) - min(t.began for t in self.trials)

    @property
    def accuracy(self) -> float:
        """The best trial's."""
        return max(trial.accuracy for trial in self.trials)

    def rate(self, size: Size) -> float:
        """Training images a second, summed over the trials."""
        return len(self.trials) * size.images * size.epochs / self.span


def make_project(root: Path, size: Size) -> None:
    """Lay out a project, prepare its images, and let its databases be made."""
    for name in PROJECT_FILES:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(REPOSITORY / name, root / name)
    data = {
        "name": "fashion-mnist",
        "limit": size.images,
        "fractions": {"validation": 0.03, "test": 0.2},
    }
    search = {"strategy": "grid", "epochs": size.epochs, "axes": AXES}
    trial = {"minibatch_size": 128, "network": {"name": "cnn"}}
    params = {"data": data, "trial": trial, "search": search}
    (root / "params.yaml").write_text(yaml.safe_dump(params, sort_keys=False))
    once = ("--set", "search.axes={seed: [1]}", "--set", "search.epochs=1")
    run([str(PITCHPIPE), "tune", *once, "--set", "trial.network.channels=[4, 4, 4]"], root)


def run(command: Sequence[str], folder: Path) -> str:
    """Run to the end; return standard output, or stop the bench with what went wrong."""
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(f"{' '.join(command)}: exit code {done.returncode}\n{done.stderr[-2000:]}")
    return done.stdout


def enter(entrant: Entrant, root: Path, size: Size) -> Ran:
    """Run one entrant's grid."""
    if entrant.peer is None:
        command = [str(PITCHPIPE), "tune", "--json", *entrant.arguments]
        shutil.rmtree(root / "mlruns/trials")
    else:
        script, *form = entrant.arguments
        given = [str(root / "data/prepared"), "--epochs", str(size.epochs)]
        command = [str(PEERS_PYTHON), str(PEERS / script), *given, *form]
    began, used = time.perf_counter(), children_seconds()
    out = run(command, root)
    whole, cpu = time.perf_counter() - began, children_seconds() - used
    if entrant.peer is None:
        trials = [read_trial(path) for path in (root / "mlruns/trials").iterdir()]
    else:
        trials = [Trial(**trial) for trial in json.loads(out.splitlines()[-1])]
    return Ran(entrant, whole, cpu, trials)


def read_trial(directory: Path) -> Trial:
    """A trial of ours by its files: trial.json is written first, result.json last."""
    began, result = directory / "trial.json", directory / "result.json"
    return Trial(
        began=began.stat().st_mtime,
        ended=result.stat().st_mtime,
        accuracy=json.loads(result.read_text())["scores"]["accuracy"],
    )


def children_seconds() -> float:
    times = os.times()
    return times.children_user + times.children_system


def table(root: Path, size: Size, rounds: int) -> Iterator[str]:
    """Run all, round by round; yield the lines of the table."""
    make_project(root, size)
    splits = read_manifest(root / "data/prepared").splits
    yield f"8 trials x {size.epochs} epochs, {splits['train'].images} train images, "
    yield f"{splits['validation'].images} validation images; {os.cpu_count()} cores\n"
    yield f"{'':<31} {'images/s':>8} {'span s':>7} {'whole s':>8} {'cpu s':>6}  best    load before"
    runs = []
    for number in range(1, rounds + 1):
        for entrant in ENTRANTS:
            load = os.getloadavg()[0]
            runs.append(enter(entrant, root, size))
            yield f"{row(runs[-1:], size)}  {load:.1f}, round {number}"
    yield f"\nmedians of {rounds}"
    by_entrant = {one: [ran for ran in runs if ran.entrant == one] for one in ENTRANTS}
    for some in by_entrant.values():
        yield row(some, size)
    yield from verdicts(by_entrant, size)


def row(runs: Sequence[Ran], size: Size) -> str:
    """Medians of one entrant's runs."""
    rate, span, whole, cpu, accuracy = (
        statistics.median(column)
        for column in zip(
            *((ran.rate(size), ran.span, ran.whole, ran.cpu, ran.accuracy) for ran in runs),
            strict=True,
        )
    )
    name = runs[0].entrant.name
    return f"{name:<31} {rate:>8.0f} {span:>7.1f} {whole:>8.1f} {cpu:>6.0f}  {accuracy:.4f}"


def verdicts(by_entrant: Mapping[Entrant, Sequence[Ran]], size: Size) -> Iterator[str]:
    """The ratios asked for: medians of ours with precision auto, and of the best peer."""
    rates = {
        one: statistics.median(ran.rate(size) for ran in runs) for one, runs in by_entrant.items()
    }
    wholes = {one: statistics.median(ran.whole for ran in runs) for one, runs in by_entrant.items()}
    for form, (asked_rate, asked_whole) in ASKED.items():
        peers = [one for one in ENTRANTS if one.peer == form]
        quickest = max(peers, key=rates.__getitem__)
        shortest = min(peers, key=wholes.__getitem__)
        yield (
            f"\nimages/s: {rates[AUTO] / rates[quickest]:.2f} times {quickest.name}, the best "
            f"peer in its {form} form; at least {asked_rate} is asked"
        )
        asked = "" if asked_whole is None else f"; at least {asked_whole} is asked"
        yield f"whole process: {wholes[shortest] / wholes[AUTO]:.2f} times {shortest.name}{asked}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--output", type=Path)
    parser.add_argument("--images", type=int, default=12_000)
    parser.add_argument("--epochs", type=int, default=3)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    if not PEERS_PYTHON.exists():
        sys.exit(f"{PEERS_PYTHON} is not there: `make bench-peers-env` makes it")
    lines = []
    with tempfile.TemporaryDirectory() as folder:
        for line in table(Path(folder), Size(options.images, options.epochs), options.rounds):
            print(line, flush=True)
            lines.append(line)
    if options.output:
        options.output.write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
