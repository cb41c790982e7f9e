"""Exhaustive grid: 8 trials by pitchpipe and by its peers, side by side in one run.

Usage: python bench/grid.py [--output bench/results/grid.txt]   (about 12 minutes on 2 quiet cores)

All train the article's CNN for 3 epochs on the same 12,000 images of Fashion-MNIST, and validate it
on the same 1,803 after each epoch, over learning rate {0.001, 0.003} x minibatch {32, 128} x hidden
units {64, 128}. Peers are scripts in bench/peers/, run by an environment of their own (`make
bench-peers-env`), and read the arrays that pitchpipe prepared. pitchpipe's is `pitchpipe tune` as
users type it, Prefect, MLflow, checkpoints and history included, in a project whose databases exist
and whose trial store is empty; it runs first and last, so that the machine's mood is seen.
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
from dataclasses import dataclass
from pathlib import Path

import yaml

from models.datasets.prepared import read_manifest

REPOSITORY = Path(__file__).resolve().parent.parent
PEERS = Path(__file__).resolve().parent / "peers"
PEERS_PYTHON = Path(os.environ.get("PEERS_PYTHON", REPOSITORY / "bench/.peers/bin/python"))
PITCHPIPE = Path(sys.executable).parent / "pitchpipe"
PROJECT_FILES = ("dvc.yaml", ".dvcignore", ".dvc/config", ".dvc/.gitignore")
OURS = "pitchpipe"
ENTRANTS = {
    OURS: None,
    "KerasTuner GridSearch": "keras_tuner_grid.py",
    "plain PyTorch loop": "pytorch_loop.py",
    "Ray Tune, 2 trials at a time": "ray_tune_grid.py",
    "Optuna, 2 trials at a time": "optuna_grid.py",
}
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

    entrant: str
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


def enter(entrant: str, root: Path, size: Size) -> Ran:
    """Run one entrant's grid."""
    script = ENTRANTS[entrant]
    command = [str(PITCHPIPE), "tune", "--json"]
    if script is not None:
        prepared = str(root / "data/prepared")
        epochs = ["--epochs", str(size.epochs)]
        command = [str(PEERS_PYTHON), str(PEERS / script), prepared, *epochs]
    else:
        shutil.rmtree(root / "mlruns/trials")
    began, used = time.perf_counter(), children_seconds()
    out = run(command, root)
    whole, cpu = time.perf_counter() - began, children_seconds() - used
    if script is None:
        return Ran(entrant, whole, cpu, [read_trial(p) for p in (root / "mlruns/trials").iterdir()])
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


def table(root: Path, size: Size) -> Iterator[str]:
    """Run all; yield the lines of the table."""
    make_project(root, size)
    splits = read_manifest(root / "data/prepared").splits
    yield f"8 trials x {size.epochs} epochs, {splits['train'].images} train images,"
    yield f"{splits['validation'].images} validation images; {os.cpu_count()} cores, "
    yield f"load {os.getloadavg()[0]:.1f} at the start\n"
    yield f"{'':<30} {'images/s':>8} {'span s':>7} {'whole s':>8} {'cpu s':>6} {'trials':>6}  best"
    runs = []
    for entrant in (*ENTRANTS, OURS):
        ran = enter(entrant, root, size)
        runs.append(ran)
        yield (
            f"{entrant:<30} {ran.rate(size):>8.0f} {ran.span:>7.1f} {ran.whole:>8.1f} "
            f"{ran.cpu:>6.0f} {len(ran.trials):>6}  {ran.accuracy:.4f}"
        )
    yield from verdicts(runs, size)


def verdicts(runs: Sequence[Ran], size: Size) -> Iterator[str]:
    """The two ratios asked for; of our runs the slower one counts."""
    ours = [ran for ran in runs if ran.entrant == OURS]
    peers = [ran for ran in runs if ran.entrant != OURS]
    quickest = max(peers, key=lambda ran: ran.rate(size))
    rate = min(ran.rate(size) for ran in ours) / quickest.rate(size)
    yield f"\nimages/s: {rate:.2f} times {quickest.entrant}; at least 2 is asked"
    shortest = min(peers, key=lambda ran: ran.whole)
    whole = shortest.whole / max(ran.whole for ran in ours)
    yield f"whole process: {whole:.2f} times {shortest.entrant}; at least 1.7 is asked"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--output", type=Path)
    parser.add_argument("--images", type=int, default=12_000)
    parser.add_argument("--epochs", type=int, default=3)
    options = parser.parse_args()
    if not PEERS_PYTHON.exists():
        sys.exit(f"{PEERS_PYTHON} is not there: `make bench-peers-env` makes it")
    lines = []
    with tempfile.TemporaryDirectory() as folder:
        for line in table(Path(folder), Size(options.images, options.epochs)):
            print(line, flush=True)
            lines.append(line)
    if options.output:
        options.output.write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
