"""Time to best: successive halving on a 32-point grid, beside Optuna's and Ray Tune's.

Usage: python bench/time_to_best.py [--train] [--output bench/results/time_to_best.txt]

--train trains the grid exhaustively, once (7 processor minutes): 32 multilayer perceptrons, 27
epochs, 6,000 images of Fashion-MNIST and 6,000 to validate on; their curves are written to
bench/results/time_to_best.json. Without it the curves there are taken, and it takes seconds.

Each search then replays the curves: it is told what the trial scored after that epoch when it was
trained in earnest. Time is simulated, two workers, an epoch as long as it took; five searches each,
the trials in five orders. A search is judged when it has ended: what share of all trial-epochs did
it take, and how far is the best score that it saw from the best there is.

Peers run in an environment of their own, see bench/peers/.
"""

import argparse
import heapq
import json
import os
import random
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from models.config import DataParams, Fractions, Params, Record, SearchParams, TrialConfig
from models.config.search import Pruner
from models.datasets.batches import write_batch
from models.datasets.prepare import prepare
from models.datasets.prepared import read_manifest
from models.datasets.sources.builtin import fashion_mnist
from models.search.search_space import search_space
from models.search.strategies import pruned_strategy
from models.search.strategy import FixedProposer, Job
from models.training.fit import train_trial
from models.training.source import package_versions
from models.trials import EpochRecord, Scores, TrialSpec

FASHION_MNIST = Path("/usr/share/datasets/fashion-mnist")
BENCH = Path(__file__).resolve().parent
CURVES = BENCH / "results/time_to_best.json"
PEERS_PYTHON = Path(os.environ.get("PEERS_PYTHON", BENCH / ".peers/bin/python"))
EPOCHS, REDUCTION, WORKERS, ORDERS = 27, 3, 2, 5
NEAR = 0.003
"""Of accuracy: as good as the best."""
PARAMS = Params.model_validate_json(
    json.dumps(
        {
            "trial": {"network": {"name": "mlp"}},
            "search": {
                "epochs": EPOCHS,
                "reduction_factor": REDUCTION,
                "axes": {
                    "optimizer.learning_rate": [0.0001, 0.0003, 0.001, 0.003],
                    "minibatch_size": [32, 128],
                    "network.hidden_units": [64, 256],
                    "network.dropout": [0.0, 0.3],
                },
            },
        }
    )
)


class Curve(Record):
    """One trial, trained to the end."""

    label: str
    seconds: float
    """Of an epoch, the processor's, which other processes disturb less."""
    accuracy: list[float]
    """On validation, after each epoch."""
    cross_entropy: list[float]

    def scores(self, epochs: int) -> Scores:
        """Best scores within so many epochs."""
        accuracy, loss = min(
            zip(self.accuracy[:epochs], self.cross_entropy[:epochs], strict=True),
            key=lambda pair: (-pair[0], pair[1]),
        )
        return Scores(accuracy=accuracy, f1_macro=accuracy, cross_entropy=loss)

    def averages(self, epochs: int) -> Scores:
        """Mean scores over so many epochs."""
        accuracy = statistics.fmean(self.accuracy[:epochs])
        loss = statistics.fmean(self.cross_entropy[:epochs])
        return Scores(accuracy=accuracy, f1_macro=accuracy, cross_entropy=loss)


class Curves(Record):
    """All trials of the grid, in its order."""

    trials: list[Curve]


Step = tuple[int, int]
"""A trial and an epoch of it that was trained."""


@dataclass(frozen=True, slots=True)
class Found:
    """What one search came to."""

    share: float
    """Of all trial-epochs, when it ended."""
    near: float
    """Likewise, when it first saw a score as good as the best; infinite if never."""
    gap: float
    """Best score there is less the best it saw, in points."""


def train(folder: Path) -> Curves:
    """Train every trial of the grid to the end."""
    data = DataParams(
        name="fashion-mnist", limit=6000, fractions=Fractions(validation=0.15, test=0.2)
    )
    source = fashion_mnist(FASHION_MNIST)
    (folder / "raw").mkdir()
    write_batch(folder / "raw/batch.parquet", source.classes, source.rows())
    prepare(folder / "raw", folder / "prepared", data)
    return Curves(trials=[curve(p.config, p.label, folder) for p in search_space(PARAMS)])


def curve(config: TrialConfig, label: str, folder: Path) -> Curve:
    """Train one trial to the end."""
    prepared, records = folder / "prepared", list[EpochRecord]()
    spec = TrialSpec(
        config=config,
        dataset=read_manifest(prepared).digest,
        source="0" * 64,
        versions=package_versions(),
    )
    began = time.process_time()
    directory = folder / spec.key
    train_trial(spec, directory, prepared=prepared, budget=EPOCHS, on_epoch=records.append)
    print(f"{label}: {records[-1].validation_accuracy:.4f}", flush=True)
    return Curve(
        label=label,
        seconds=round((time.process_time() - began) / EPOCHS, 3),
        accuracy=[round(record.validation_accuracy, 6) for record in records],
        cross_entropy=[round(record.validation_loss, 6) for record in records],
    )


def replay(curves: Curves, pruner: Pruner, order: list[int]) -> list[Step]:
    """Search as pitchpipe does, with workers that take as long as the trials took."""
    search = SearchParams(pruner=pruner, epochs=EPOCHS, reduction_factor=REDUCTION)
    proposals = search_space(PARAMS)
    strategy = pruned_strategy(
        FixedProposer([proposals[trial] for trial in order]), search, by="accuracy"
    )
    running: list[tuple[float, int, Job]] = []
    steps, reached, now = list[Step](), dict[int, int](), 0.0
    while True:
        while len(running) < WORKERS and (job := strategy.ask()):
            epochs = job.budget - reached.get(job.number, 0)
            end = now + epochs * curves.trials[order[job.number]].seconds
            heapq.heappush(running, (end, job.number, job))
        if not running:
            return steps
        now, number, job = heapq.heappop(running)
        trial = order[number]
        steps += [(trial, epoch) for epoch in range(reached.get(number, 0) + 1, job.budget + 1)]
        reached[number] = job.budget
        one = curves.trials[trial]
        strategy.tell(job, one.scores(job.budget), one.averages(job.budget))


def peer(curves: Curves, name: str, orders: list[list[int]]) -> list[list[Step]] | None:
    """Search as a peer does; None where it is not installed."""
    if not PEERS_PYTHON.exists():
        return None
    question = {
        "curves": [trial.accuracy for trial in curves.trials],
        "seconds": [trial.seconds for trial in curves.trials],
        "orders": orders,
        "workers": WORKERS,
        "reduction": REDUCTION,
    }
    done = subprocess.run(
        [str(PEERS_PYTHON), str(BENCH / "peers/replay.py"), name],
        input=json.dumps(question),
        capture_output=True,
        text=True,
        check=False,
    )
    if "ModuleNotFoundError" in done.stderr:
        return None
    if done.returncode:
        sys.exit(f"{name}: {done.stderr[-2000:]}")
    answer: list[list[Step]] = json.loads(done.stdout)
    return answer


def found(curves: Curves, steps: list[Step]) -> Found:
    """Judge a search by what it trained."""
    best = max(max(trial.accuracy) for trial in curves.trials)
    total = len(curves.trials) * EPOCHS
    seen = [curves.trials[trial].accuracy[epoch - 1] for trial, epoch in steps]
    near = (place for place, score in enumerate(seen, start=1) if score >= best - NEAR)
    return Found(
        share=len(steps) / total,
        near=next(near, float("inf")) / total,
        gap=100 * (best - max(seen)),
    )


def table(curves: Curves) -> Iterator[str]:
    """Yield the lines of the table."""
    orders = [random.Random(seed).sample(range(32), 32) for seed in range(ORDERS)]
    best = max(curves.trials, key=lambda trial: max(trial.accuracy))
    yield (
        f"{len(curves.trials)} trials x {EPOCHS} epochs; best validation accuracy "
        f"{max(best.accuracy):.4f} ({best.label})"
    )
    yield f"{WORKERS} workers, simulated; medians over {ORDERS} orders of the trials (worst)\n"
    yield f"{'search':<38} {'trial-epochs':>16} {'near the best at':>18} {'points below':>14}"
    pruners: list[Pruner] = ["none", "asha", "hyperband", "median"]
    for pruner in pruners:
        ours = [replay(curves, pruner, order) for order in orders]
        yield row(f"pitchpipe, pruner: {pruner}", [found(curves, steps) for steps in ours])
    for name, title in (
        ("optuna", "Optuna, SuccessiveHalvingPruner"),
        ("ray", "Ray Tune, ASHAScheduler"),
    ):
        theirs = peer(curves, name, orders)
        if theirs is None:
            yield f"{title:<38} not installed"
        else:
            yield row(title, [found(curves, steps) for steps in theirs])


def row(title: str, searches: list[Found]) -> str:
    """One line: medians, and the worst in brackets."""
    share = middle_and_worst([100 * one.share for one in searches], ".1f", " %")
    near = middle_and_worst([100 * one.near for one in searches], ".1f", " %")
    gap = middle_and_worst([one.gap for one in searches], ".2f", "")
    return f"{title:<38} {share:>16} {near:>18} {gap:>14}"


def middle_and_worst(values: list[float], form: str, unit: str) -> str:
    return f"{statistics.median(values):{form}}{unit} ({max(values):{form}})"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--train", action="store_true")
    parser.add_argument("--output", type=Path)
    options = parser.parse_args()
    if options.train:
        with tempfile.TemporaryDirectory() as folder:
            CURVES.write_text(train(Path(folder)).model_dump_json() + "\n")
    curves = Curves.model_validate_json(CURVES.read_text())
    lines = list(table(curves))
    print("\n".join(lines))
    if options.output:
        options.output.write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
