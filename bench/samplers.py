"""Samplers and pruners where curves cross: the trial that is best after an epoch is not at the end.

Usage: python bench/samplers.py [--searches N] [--output bench/results/samplers.txt]
(two minutes)

Simulated trials with a learning rate from 0.0001 to 0.1 (logarithmic) and a dropout from 0 to 0.6.
Crossing: a high rate learns in an epoch or two and ends low, a low rate takes many epochs and ends
high; the best rate is 0.0007, the best dropout 0.35, and both are far from the best after an epoch.
Parallel: who is ahead stays ahead. Scores of an epoch have an error of half a point, drawn by trial
and epoch.

Each search has 40 trials of up to 27 epochs (factor 3), two workers, an epoch as long in every
trial. It is judged by the true score, without error, of the trial it selects among those with the
whole budget. Means over the searches, with standard errors; each search has a seed of its own.
"""

from __future__ import annotations

import argparse
import heapq
import math
import statistics
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from models.config import Params, SearchParams, TrialConfig
from models.search.search_space import uniform
from models.search.strategies import strategy_of
from models.search.strategy import Job
from models.trials import Scores

EPOCHS, TRIALS, WORKERS, ERROR = 27, 40, 2, 0.005
AXES = {
    "optimizer.learning_rate": {"low": 0.0001, "high": 0.1, "log": True},
    "network.dropout": {"low": 0.0, "high": 0.6},
}


@dataclass(frozen=True, slots=True)
class Found:
    """What one search came to."""

    score: float
    """True accuracy of the selected trial at the end."""
    epochs: int
    """Trained in all."""


def truth(config: TrialConfig, epoch: int, *, crossing: bool) -> float:
    """Accuracy after an epoch, without error."""
    rate = math.log10(config.optimizer.learning_rate / 0.0007)
    dropout = getattr(config.network, "dropout", 0.0) - 0.35
    last = 0.93 - 0.03 * rate**2 - 0.3 * dropout**2
    epochs = 5 * 10 ** (-0.6 * rate) * (1 + 2 * (dropout + 0.35)) if crossing else 5.0
    return last - (last - 0.1) * math.exp(-epoch / epochs)


def scores(job: Job, seed: int, *, crossing: bool) -> tuple[Scores, Scores]:
    """Best and mean score of a trial within a job's budget, as they are seen."""
    seen = [
        truth(job.proposal.config, epoch, crossing=crossing) + _error(seed, job.number, epoch)
        for epoch in range(1, job.budget + 1)
    ]
    return scored(max(seen)), scored(statistics.fmean(seen))


def scored(accuracy: float) -> Scores:
    """Scores of one accuracy."""
    return Scores(accuracy=accuracy, f1_macro=accuracy, cross_entropy=1 - accuracy)


def _error(seed: int, number: int, epoch: int) -> float:
    return statistics.NormalDist(0, ERROR).inv_cdf(max(uniform(seed, number, str(epoch)), 1e-9))


def search_once(strategy: str, pruner: str, seed: int, *, crossing: bool) -> Found:
    """Search with workers that take as long as epochs are many; ties end in order of numbers."""
    fields = {"strategy": strategy, "pruner": pruner, "seed": seed, "axes": AXES}
    params = Params(
        search=SearchParams.model_validate({**fields, "epochs": EPOCHS, "trials": TRIALS})
    )
    running: list[tuple[int, int, Job]] = []
    asked, reached, selected, now = strategy_of(params), dict[int, int](), list[float](), 0
    best = -math.inf
    while True:
        while len(running) < WORKERS and (job := asked.ask()):
            end = now + job.budget - reached.get(job.number, 0)
            heapq.heappush(running, (end, job.number, job))
        if not running:
            return Found(score=selected[-1], epochs=sum(reached.values()))
        now, number, job = heapq.heappop(running)
        reached[number] = job.budget
        seen, averages = scores(job, seed, crossing=crossing)
        if job.budget == EPOCHS and seen.accuracy > best:
            best = seen.accuracy
            selected.append(truth(job.proposal.config, EPOCHS, crossing=crossing))
        asked.tell(job, seen, averages)


def table(searches: int) -> Iterator[str]:
    """Yield the lines of the tables."""
    for crossing in (True, False):
        yield f"{'crossing' if crossing else 'parallel'} curves, {searches} searches each"
        yield f"  {'search':<22} {'true score selected':>24} {'epochs':>8}"
        for pruner in ("none", "hyperband", "asha", "median"):
            for strategy in ("random", "tpe"):
                found = [
                    search_once(strategy, pruner, seed, crossing=crossing)
                    for seed in range(searches)
                ]
                name = strategy if pruner == "none" else f"{strategy} + {pruner}"
                yield row(name, found)
        yield ""


def row(name: str, found: list[Found]) -> str:
    """One line: mean and standard error of the score, mean of the epochs."""
    values = [one.score for one in found]
    error = statistics.stdev(values) / math.sqrt(len(values))
    epochs = statistics.fmean(one.epochs for one in found)
    return f"  {name:<22} {statistics.fmean(values):>14.4f} +- {error:.4f} {epochs:>8.0f}"


def main() -> None:
    """Print the tables, and write them where asked."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--searches", type=int, default=40)
    parser.add_argument("--output", type=Path)
    options = parser.parse_args()
    lines = [f"python bench/samplers.py --searches {options.searches}"]
    for line in table(options.searches):
        print(line, flush=True)
        lines.append(line)
    if options.output:
        options.output.write_text("\n".join(lines).rstrip() + "\n")


if __name__ == "__main__":
    main()
