"""Calibration of the gate: how often it promotes what is no better, and what is.

Usage: python bench/gate.py [--processes P] [--output bench/results/gate.txt]    (10 minutes)

Model. Each of n images has a true class among k (all equally likely). A classifier sees Gaussian
evidence for every class, of variance 1 and higher by s for the true class, names the class with
the most, and reports the exact posterior: so it is calibrated, and s fixes its accuracy. Of the
noise, a share is common to both classifiers; it fixes on how many images exactly one of them is
right ("differing"). No common noise: they err independently, and differ as much as two classifiers
that do not counteract each other can. Every verdict is one of `models.gate.decide` with default
params at the first look, but for fewer bootstrap samples; it is not asked where accuracy shows
nothing either way.
"""

from __future__ import annotations

import argparse
import math
import sys
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import Executor, ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
from scipy import integrate, optimize, stats

from models.config import GateParams
from models.evaluation.uncertainty.intervals import wilson
from models.gate.budget import level_of
from models.gate.inputs import GateInput
from models.gate.paired import POWER, mcnemar_p
from models.gate.verdict import decide

GATE = GateParams(resamples=400)
FIRST = 2 * level_of(1, GATE)
"""Significance of the first look, two-sided."""


@dataclass(frozen=True, slots=True)
class Case:
    """A champion and a challenger of known accuracies."""

    images: int
    champion: float
    challenger: float
    common: float
    """Share of the noise's variance that both see."""
    classes: int = 10
    pairs: int = 8000
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
    Case(10_000, 0.92, 0.93, 0.00, pairs=400),
    Case(10_000, 0.92, 0.93, 0.25, pairs=400),
    Case(10_000, 0.92, 0.93, 0.50, pairs=400),
    Case(10_000, 0.92, 0.93, 0.75, pairs=400),
    Case(10_000, 0.92, 0.93, 0.90, pairs=400),
    Case(1_000, 0.92, 0.93, 0.50, pairs=400),
    Case(360, 0.97, 0.98, 0.50, pairs=400),
]
WORSE = [Case(10_000, 0.92, 0.91, 0.50, pairs=200), Case(10_000, 0.92, 0.915, 0.50, pairs=200)]


@dataclass(frozen=True, slots=True)
class Found:
    """What became of the pairs of a case."""

    verdicts: Counter[str]
    differing: float
    """Mean share of images that exactly one of the two has right."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--scale", type=float, default=1.0)
    parser.add_argument("--processes", type=int, default=1)
    parser.add_argument("--output", type=Path)
    options = parser.parse_args()
    lines = []
    with ProcessPoolExecutor(options.processes) as pool:
        for line in report(pool, options.scale):
            print(line, file=sys.stderr, flush=True)
            lines.append(line)
    text = "\n".join([*lines, f"numpy {np.__version__}"]) + "\n"
    if options.output:
        options.output.write_text(text, encoding="utf-8")
    else:
        print(text, end="")


def report(pool: Executor, scale: float) -> Iterator[str]:
    """Yield the lines of the three tables."""
    yield f"Gate calibration: default params, first look, scale {scale:g}; see bench/gate.py."
    yield "exact: rate of PROMOTE by the accuracy rule alone (McNemar and minimum effect), summed"
    yield "over all outcomes; the guards can only lower it. held back: they did so."
    for title, cases in (
        ("Challenger equal to champion: PROMOTE is false, at most 1.26 % at a first look", A_A),
        ("Challenger better: PROMOTE is right", BETTER),
        ("Challenger worse: PROMOTE is false, REJECT is right", WORSE),
    ):
        yield ""
        yield title
        yield (
            "  images classes  accuracies       differing  pairs |   exact  PROMOTE (95 % interval)"
            "   held back  REJECT | images for 80 %"
        )
        together: Counter[str] = Counter()
        counts = [max(1, round(scale * case.pairs)) for case in cases]
        for case, found in zip(cases, pool.map(simulate, cases, counts), strict=True):
            together += found.verdicts
            yield _line(case, found)
        if cases is A_A:
            yield f"  together {together.total():,} pairs: {_promoted(together)}"


def simulate(case: Case, pairs: int) -> Found:
    """Draw the pairs and ask for their verdicts; every case has its own random numbers."""
    verdicts: Counter[str] = Counter()
    differing = 0.0
    signals = signal(case.champion, case.classes), signal(case.challenger, case.classes)
    seed = [round(1e6 * value) for value in (case.images, case.champion, case.challenger)]
    generator = np.random.default_rng([*seed, round(1e6 * case.common), case.classes])
    for _ in range(pairs):
        pair = simulated(case, signals, generator)
        verdicts[verdict(pair)] += 1
        differing += float(np.mean(pair.champion_right != pair.challenger_right))
    return Found(verdicts, differing / pairs)


def verdict(pair: SimulatedPair) -> str:
    """Ask the gate; but where accuracy shows nothing either way, it cannot promote: "none"."""
    ahead = int(np.sum(pair.challenger_right & ~pair.champion_right))
    behind = int(np.sum(pair.champion_right & ~pair.challenger_right))
    if mcnemar_p(ahead, behind) > GATE.significance:
        return "none"
    decision = decide(pair.challenger(), pair.champion(), GATE)
    small = (ahead - behind) / len(pair.labels) < GATE.minimum_effect
    shown = mcnemar_p(ahead, behind) <= FIRST and not small
    return "held back" if shown and decision.verdict != "PROMOTE" else decision.verdict


def exact_rate(images: int, differing: float, lead: float) -> float:
    """Probability that the accuracy rule alone promotes.

    m ~ Binomial(images, differing) images differ; of them the challenger has
    b ~ Binomial(m, (1 + lead / differing) / 2) right.
    """
    m = np.arange(images + 1)
    significant = stats.binom.isf(FIRST / 2, m, 0.5) + 1
    enough = np.ceil((m + GATE.minimum_effect * images) / 2 - 1e-9)
    least = np.maximum(significant, enough)
    promoted = stats.binom.sf(least - 1, m, (1 + lead / differing) / 2)
    return float(promoted @ stats.binom.pmf(m, images, differing))


def images_needed(lead: float, differing: float, *, significance: float) -> int:
    """Test images on which a true lead in accuracy is detected with 80 % power (Connor, 1987).

    differing: share of the images that exactly one of the two has right; at least lead.
    """
    high, power = stats.norm.isf(significance / 2), stats.norm.ppf(POWER)
    root = high * math.sqrt(differing) + power * math.sqrt(differing - lead**2)
    return math.ceil(float(root / lead) ** 2)


def _line(case: Case, found: Found) -> str:
    pairs, lead = found.verdicts.total(), case.challenger - case.champion
    differing, exact = found.differing, exact_rate(case.images, found.differing, lead)
    needed = images_needed(lead, differing, significance=FIRST) if lead > 0 else None
    held_back, rejected = (100 * found.verdicts[name] / pairs for name in ("held back", "REJECT"))
    accuracies = f"{100 * case.champion:5.1f} -> {100 * case.challenger:4.1f} %"
    return (
        f"  {case.images:6,} {case.classes:7}  {accuracies} {100 * differing:10.2f} % {pairs:6,} | "
        f"{100 * exact:5.2f} % {_promoted(found.verdicts)} {held_back:9.2f} % {rejected:5.1f} % | "
        f"{needed or '-':>8}"
    )


def _promoted(verdicts: Counter[str]) -> str:
    promoted, pairs = verdicts["PROMOTE"], verdicts.total()
    interval = wilson(promoted, pairs)
    return (
        f"{100 * promoted / pairs:7.2f} % ({100 * interval.low:5.2f} to {100 * interval.high:5.2f})"
    )


@dataclass(frozen=True, slots=True)
class SimulatedPair:
    """Evidence of both for the same images, (images, classes) each."""

    labels: npt.NDArray[np.int64]
    evidence: tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]
    """The champion's, the challenger's."""
    signals: tuple[float, float]

    @property
    def champion_right(self) -> npt.NDArray[np.bool_]:
        return np.asarray(self.evidence[0].argmax(axis=1) == self.labels)

    @property
    def challenger_right(self) -> npt.NDArray[np.bool_]:
        return np.asarray(self.evidence[1].argmax(axis=1) == self.labels)

    def champion(self) -> GateInput:
        return _version(self.evidence[0], self.labels, self.signals[0])

    def challenger(self) -> GateInput:
        return _version(self.evidence[1], self.labels, self.signals[1])


def simulated(
    case: Case, signals: tuple[float, float], generator: np.random.Generator
) -> SimulatedPair:
    """Draw what champion and challenger see of the same images."""
    shape = (case.images, case.classes)
    labels = generator.integers(0, case.classes, case.images)
    common = math.sqrt(case.common) * generator.standard_normal(shape, dtype=np.float32)
    own = math.sqrt(1 - case.common)

    def seen(strength: float) -> npt.NDArray[np.float32]:
        evidence = common + own * generator.standard_normal(shape, dtype=np.float32)
        evidence[np.arange(len(labels)), labels] += strength
        return evidence.astype(np.float32)

    return SimulatedPair(labels, (seen(signals[0]), seen(signals[1])), signals)


def _version(
    evidence: npt.NDArray[np.float32], labels: npt.NDArray[np.int64], strength: float
) -> GateInput:
    powers = np.exp(strength * (evidence - evidence.max(axis=1, keepdims=True)))
    return GateInput(
        probabilities=powers / powers.sum(axis=1, keepdims=True),
        labels=labels,
        test_digest="simulated",
        classes=tuple(map(str, range(evidence.shape[1]))),
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
