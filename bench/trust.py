"""What the gate's numbers are worth: a year of retrainings on one test split, and intervals of F1.

Usage: python bench/trust.py [--years N] [--splits N] [--output bench/results/trust.txt]
(two minutes)

Year. A test split of n images; the champion is right on Binomial(n, 0.92) of them, by luck more or
fewer. Each of 365 challengers errs differently on 6 % of the images, in expectation as many better
as worse, so that it is exactly as good. A challenger that passes the accuracy rule (exact McNemar
test and minimum effect; the guards can only hold more) becomes the champion, with its luck. Before:
every look at 2.5 % one-sided. After: the levels of `models.gate.budget`. At the end of the year,
and at its first look, a challenger that is one point better in truth is judged.

Intervals. Test splits are drawn from a population with known shares of each class, each of which is
right with a known share; mistakes go to the other classes in proportion to these. How many of the
95 % intervals of macro F1 hold the population's? Before: percentiles of images resampled within
their class. After: `drawn_f1_macro` of models.evaluation.uncertainty, widened to the score itself.

Mid-p. How often the exact and the mid-p version of McNemar's test (Fagerland et al., 2013) call an
equal challenger better, as a multiple of the look's level: given how many images differ (5 to 399),
and averaged over that number (Poisson of any mean from 3 to 300). Computed, not drawn.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from scipy import stats

from models.config import GateParams
from models.evaluation.records import Interval
from models.evaluation.uncertainty.bootstrap import drawn_f1_macro
from models.evaluation.uncertainty.intervals import holding, percentile_interval
from models.gate.budget import level_of

ACCURACY, DIFFERING, LOOKS = 0.92, 0.06, 365
GATE = GateParams()
Level = Callable[[int], float]
Integers = np.ndarray[tuple[int], np.dtype[np.int64]]


def fresh(look: int) -> float:
    """Every look at the same level, as if it were the first."""
    del look
    return GATE.significance / 2


def budgeted(look: int) -> float:
    """Levels that sum to the significance."""
    return level_of(look, GATE)


class Years:
    """Many years at once, each with a test split of its own."""

    def __init__(self, images: int, years: int) -> None:
        self.images = images
        self.source = np.random.default_rng(images)
        self.right = self.source.binomial(images, ACCURACY, years)

    def judge(self, level: float, *, lead: float = 0.0) -> tuple[np.ndarray, Integers]:
        """Whether a challenger passes in each year, and by how many images it is ahead."""
        better, worse = (DIFFERING + lead) / 2, (DIFFERING - lead) / 2
        behind = self.source.binomial(self.right, worse / ACCURACY)
        ahead = self.source.binomial(self.images - self.right, better / (1 - ACCURACY))
        tail = stats.binom.sf(ahead - 1, ahead + behind, 0.5)
        passed = (tail <= level) & (ahead - behind >= GATE.minimum_effect * self.images)
        return passed, ahead - behind

    def equal_challengers(self, level: Level) -> np.ndarray:
        """Go through the year; return where a challenger was promoted falsely."""
        false = np.zeros(len(self.right), bool)
        for look in range(1, LOOKS + 1):
            passed, lead = self.judge(level(look))
            self.right = np.where(passed, self.right + lead, self.right)
            false |= passed
        return false


def row(images: int, years: int, name: str, level: Level) -> str:
    """Format the rates of one split size under one rule."""
    simulated = Years(images, years)
    first, _ = simulated.judge(level(1), lead=0.01)
    false = simulated.equal_challengers(level)
    luck = simulated.right.mean() / images - ACCURACY
    last, _ = simulated.judge(level(LOOKS), lead=0.01)
    error = np.sqrt(false.mean() * (1 - false.mean()) / years)
    return (
        f"  {images:>6,}  {name:<8}  {100 * false.mean():6.1f} +- {100 * error:.1f} %"
        f"  {100 * luck:+8.2f}  {100 * first.mean():9.1f} %  {100 * last.mean():9.1f} %"
    )


@dataclass(frozen=True, slots=True)
class Population:
    """What test splits are drawn from."""

    name: str
    images: int
    """Of a split."""
    shares: Sequence[float]
    """Of the classes."""
    right: Sequence[float]
    """Of each class, the share that is named rightly."""

    @property
    def confusion(self) -> np.ndarray:
        """Share of each (class, named class), (k, k)."""
        shares, right = np.array(self.shares), np.array(self.right)
        wrong = (1 - right[:, None]) * shares / (1 - shares[:, None])
        return np.asarray(np.where(np.eye(len(shares)), right, wrong) * shares[:, None])


POPULATIONS = (
    Population("3 classes, 98 % right", 60, [1 / 3] * 3, [0.98] * 3),
    Population("3 classes, 80 : 15 : 5", 100, [0.8, 0.15, 0.05], [0.97, 0.85, 0.7]),
    Population("10 classes, 90 % right", 200, [0.1] * 10, [0.9] * 10),
    Population("10 classes, 98 % right", 360, [0.1] * 10, [0.98] * 10),
    Population("3 classes, 80 % right", 1000, [1 / 3] * 3, [0.8] * 3),
    Population("10 classes, 50 % right", 100, [0.1] * 10, [0.5] * 10),
    Population("10 classes, by chance", 60, [0.1] * 10, [0.1] * 10),
)
RESAMPLES = 500


def f1_of(confusion: np.ndarray) -> float:
    """Macro F1 over the classes that have images."""
    right, true = np.diag(confusion), confusion.sum(axis=1)
    return float((2 * right / (true + confusion.sum(axis=0)).clip(1e-12))[true > 0].mean())


def resampled(counts: np.ndarray, source: np.random.Generator) -> Interval:
    """As it was: images drawn again within their class."""
    rows = [
        source.multinomial(row.sum(), row / max(row.sum(), 1), RESAMPLES)
        if row.sum()
        else np.zeros((RESAMPLES, len(row)), int)
        for row in counts
    ]
    draws = np.stack(rows, axis=1)
    right = np.diagonal(draws, axis1=1, axis2=2)
    either = (draws.sum(axis=1) + draws.sum(axis=2)).clip(1)
    return percentile_interval((2 * right / either)[:, counts.sum(axis=1) > 0].mean(axis=1))


def drawn(counts: np.ndarray, source: np.random.Generator) -> Interval:
    """As it is."""
    k = len(counts)
    labels, predicted = np.divmod(np.repeat(np.arange(k * k), counts.ravel()), k)
    draws = drawn_f1_macro(labels, [predicted], classes=k, generator=source, resamples=RESAMPLES)
    return holding(percentile_interval(draws[0]), f1_of(counts))


def coverage(population: Population, splits: int) -> str:
    """Format how often both intervals hold the truth, and how wide they are."""
    confusion, source = population.confusion, np.random.default_rng(population.images)
    truth, inside, width = f1_of(confusion), np.zeros(2), np.zeros(2)
    for _ in range(splits):
        counts = source.multinomial(population.images, confusion.ravel()).reshape(confusion.shape)
        found = [resampled(counts, source), drawn(counts, source)]
        inside += [one.low <= truth <= one.high for one in found]
        width += [one.high - one.low for one in found]
    columns = "".join(
        f"  {100 * held / splits:7.1f} % {wide / splits:8.3f}"
        for held, wide in zip(inside, width, strict=True)
    )
    return f"  {population.images:>6,}  {population.name:<24}{truth:6.3f}{columns}"


def year_lines(years: int) -> list[str]:
    """Table of the years."""
    return [
        "A year of 365 equal challengers on one test split, 6 % of the images differing.",
        "false: years with any false promotion. luck: points by which the champion's test accuracy",
        "is too high at the end. power: a true lead of one point promotes, at look 1 and look 365.",
        "  images  levels       false promotion      luck  power, first   power, last",
        *(
            row(images, years, name, level)
            for images in (360, 1000, 10_000)
            for name, level in (("fresh", fresh), ("budget", budgeted))
        ),
    ]


def interval_lines(splits: int) -> list[str]:
    """Table of the intervals."""
    error = 100 * np.sqrt(0.95 * 0.05 / splits)
    return [
        f"95 % intervals of macro F1 from {splits:,} splits each: share that holds the truth,",
        f"+- {error:.1f}, and mean width; of images resampled (before), of the posterior (after).",
        "  images  population               truth  before     width  after      width",
        *(coverage(population, splits) for population in POPULATIONS),
    ]


DIFFERING_IMAGES = np.arange(400)


def rates(level: float, *, mid: bool) -> np.ndarray:
    """Rate of "better" among equal challengers, given that 0, 1, 2... images differ."""
    found = np.zeros(len(DIFFERING_IMAGES))
    for differing in DIFFERING_IMAGES[1:]:
        ahead = np.arange(differing // 2 + 1, differing + 1)
        here = stats.binom.pmf(ahead, differing, 0.5)
        p_value = stats.binom.sf(ahead, differing, 0.5) + here * (0.5 if mid else 1)
        found[differing] = here[p_value <= level].sum()
    return found


def mid_p_row(look: int) -> str:
    """Format the rates at the level of a look, as multiples of it."""
    level = level_of(look, GATE)
    weights = stats.poisson.pmf(DIFFERING_IMAGES, np.arange(3, 300.5, 0.5)[:, None])
    columns = ""
    for mid in (False, True):
        given = rates(level, mid=mid) / level
        above = 100 * np.mean(given[5:] > 1)
        columns += f"  {given[5:].max():6.2f} {above:7.0f} % {(weights @ given).max():8.3f}"
    return f"  {look:>6}  {level:9.2e}{columns}"


def mid_p_lines() -> list[str]:
    """Table of both versions of McNemar's test."""
    return [
        "McNemar's test: rate of calling an equal challenger better, over the level of the look.",
        "given: at worst, of any number of images that differ, and at how many it is above",
        "the level; averaged: at worst, of any mean number.",
        "                      exact:                      mid-p:",
        "    look      level   given    above averaged   given    above averaged",
        *map(mid_p_row, (1, 2, 4, 20, 100, 365)),
    ]


def main() -> None:
    """Print the tables, and write them where asked."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--years", type=int, default=4000)
    parser.add_argument("--splits", type=int, default=2000)
    parser.add_argument("--output", type=Path)
    asked = parser.parse_args()
    lines = [
        f"python bench/trust.py --years {asked.years} --splits {asked.splits}",
        *year_lines(asked.years),
        "",
        *interval_lines(asked.splits),
        "",
        *mid_p_lines(),
        f"numpy {np.__version__}",
    ]
    print("\n".join(lines))
    if asked.output:
        asked.output.write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
