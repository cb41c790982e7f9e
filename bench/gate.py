"""Calibration of the gate: how often it promotes what is no better, and what is.

Usage: python bench/gate.py [--scale S] [--output bench/results/gate.txt]   (20 minutes at 1)

Model. Each of n images has a true class among k (all equally likely). A classifier sees Gaussian
evidence for every class, of variance 1 and higher by s for the true class, names the class with
the most, and reports the exact posterior: so it is calibrated, and s fixes its accuracy. Of the
noise, a share is common to both classifiers; it fixes on how many images exactly one of them is
right ("differing"). No common noise: they err independently, and differ as much as two classifiers
that do not counteract each other can. Every verdict is one of `models.gate.decide` with default
params, but for fewer bootstrap samples.
"""

import argparse
import math
import sys
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
from scipy import integrate, optimize, stats

from models.config import GateParams
from models.evaluation.intervals import wilson
from models.gate import GateInput, decide
from models.gate.paired import images_needed

GATE = GateParams(resamples=400)


@dataclass(frozen=True, slots=True)
class Case:
    """A champion and a challenger of known accuracies."""

    images: int
    champion: float
    challenger: float
    common: float
    """Share of the noise's variance that both see."""
    classes: int = 10
    pairs: int = 2000
    """Simulated."""


A_A = [
    Case(10_000, 0.92, 0.92, 0.00),
    Case(10_000, 0.92, 0.92, 0.50),
    Case(10_000, 0.92, 0.92, 0.90),
    Case(10_000, 0.92, 0.92, 0.99),
    Case(1_000, 0.92, 0.92, 0.50),
    Case(360, 0.98, 0.98, 0.50),
    Case(10_000, 0.70, 0.70, 0.50, classes=100, pairs=400),
]
BETTER = [
    Case(10_000, 0.92, 0.93, 0.00, pairs=800),
    Case(10_000, 0.92, 0.93, 0.25, pairs=800),
    Case(10_000, 0.92, 0.93, 0.50, pairs=800),
    Case(10_000, 0.92, 0.93, 0.75, pairs=800),
    Case(10_000, 0.92, 0.93, 0.90, pairs=800),
    Case(1_000, 0.92, 0.93, 0.50, pairs=800),
    Case(360, 0.97, 0.98, 0.50, pairs=800),
]
WORSE = [Case(10_000, 0.92, 0.91, 0.50, pairs=400), Case(10_000, 0.92, 0.915, 0.50, pairs=400)]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--scale", type=float, default=1.0)
    parser.add_argument("--output", type=Path)
    options = parser.parse_args()
    began, lines = time.monotonic(), []
    for line in report(options.scale):
        print(line, file=sys.stderr, flush=True)
        lines.append(line)
    lines.append(f"{time.monotonic() - began:.0f} s, numpy {np.__version__}")
    text = "\n".join(lines) + "\n"
    if options.output:
        options.output.write_text(text, encoding="utf-8")
    else:
        print(text, end="")


def report(scale: float) -> Iterator[str]:
    """Yield the lines of the three tables."""
    yield "Gate calibration: default params; the model of the pairs is in bench/gate.py."
    for title, cases in (
        ("Challenger equal to champion: PROMOTE is false, at most 2.5 % is promised", A_A),
        ("Challenger one point better: PROMOTE is right", BETTER),
        ("Challenger worse: REJECT is right", WORSE),
    ):
        yield ""
        yield title
        yield (
            "  images classes champion challenger differing pairs |  PROMOTE (95 % interval)   HOLD"
            " REJECT | images for 80 %"
        )
        for case in cases:
            yield row(case, max(1, round(scale * case.pairs)))


def row(case: Case, pairs: int) -> str:
    verdicts: Counter[str] = Counter()
    differing = 0.0
    signals = signal(case.champion, case.classes), signal(case.challenger, case.classes)
    # Every row has its own numbers, whatever rows stand before it.
    seed = [round(1e6 * value) for value in (case.images, case.champion, case.challenger)]
    generator = np.random.default_rng([*seed, round(1e6 * case.common), case.classes])
    for _ in range(pairs):
        champion, challenger = simulated(case, signals, generator)
        decision = decide(challenger, champion, GATE)
        verdicts[decision.verdict] += 1
        if decision.comparison is not None:
            found = decision.comparison
            differing += (found.challenger_only + found.champion_only) / found.images
    return _line(case, verdicts, differing / pairs)


def _line(case: Case, verdicts: Counter[str], differing: float) -> str:
    pairs = verdicts.total()
    promoted = wilson(verdicts["PROMOTE"], pairs)
    lead = abs(case.challenger - case.champion)
    needed = (
        images_needed(lead, max(differing, lead), significance=GATE.significance) if lead else 0
    )
    shares = [100 * verdicts[name] / pairs for name in ("PROMOTE", "HOLD", "REJECT")]
    accuracies = f"{100 * case.champion:7.1f} % {100 * case.challenger:8.1f} %"
    interval = f"({100 * promoted.low:5.2f} to {100 * promoted.high:6.2f})"
    return (
        f"  {case.images:6,} {case.classes:7} {accuracies} {100 * differing:7.2f} % {pairs:5,} | "
        f"{shares[0]:6.2f} % {interval} {shares[1]:6.2f} {shares[2]:6.2f} | "
        f"{f'{needed:,}' if needed else '-':>10}"
    )


def simulated(
    case: Case, signals: tuple[float, float], generator: np.random.Generator
) -> tuple[GateInput, GateInput]:
    """Draw champion and challenger on the same images."""
    shape = (case.images, case.classes)
    labels = generator.integers(0, case.classes, case.images)
    common = math.sqrt(case.common) * generator.standard_normal(shape, dtype=np.float32)
    champion, challenger = (
        _version(
            common + math.sqrt(1 - case.common) * generator.standard_normal(shape, np.float32),
            labels,
            strength,
        )
        for strength in signals
    )
    return champion, challenger


def _version(
    evidence: npt.NDArray[np.float32], labels: npt.NDArray[np.int64], strength: float
) -> GateInput:
    evidence[np.arange(len(labels)), labels] += strength
    powers = np.exp(strength * (evidence - evidence.max(axis=1, keepdims=True)))
    return GateInput(
        probabilities=powers / powers.sum(axis=1, keepdims=True),
        labels=labels,
        test_digest="simulated",
        classes=tuple(map(str, range(evidence.shape[1]))),
        image_shape=(1, 28, 28),
        trained_on_test=0,
        weights_megabytes=0.4,
    )


def signal(accuracy: float, classes: int) -> float:
    """Evidence for the true class with which the most evidence is right this often."""

    def excess(strength: float) -> float:
        right, _ = integrate.quad(
            lambda x: stats.norm.pdf(x - strength) * stats.norm.cdf(x) ** (classes - 1),
            strength - 8,
            strength + 8,
        )
        return float(right) - accuracy

    return float(optimize.brentq(excess, 0, 20))


if __name__ == "__main__":
    main()
