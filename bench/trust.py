"""A year of retrainings on one test split: false promotions, the champion's luck, power.

Usage: python bench/trust.py [--years N] [--output bench/results/trust.txt]    (a minute)

Model. A test split of n images; the champion is right on Binomial(n, 0.92) of them, by luck more or
fewer. Each of 365 challengers errs differently on 6 % of the images, in expectation as many better
as worse, so that it is exactly as good. A challenger that passes the accuracy rule (exact McNemar
test and minimum effect; the guards can only hold more) becomes the champion, with its luck. Before:
every look at 2.5 % one-sided. After: the levels of `models.gate.budget`. At the end of the year,
and at its first look, a challenger that is one point better in truth is judged.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path

import numpy as np
from scipy import stats

from models.config import GateParams
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


def main() -> None:
    """Print the table, and write it where asked."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--years", type=int, default=4000)
    parser.add_argument("--output", type=Path)
    asked = parser.parse_args()
    lines = [
        f"python bench/trust.py --years {asked.years}",
        "A year of 365 equal challengers on one test split, 6 % of the images differing.",
        "false: years with any false promotion. luck: points by which the champion's test accuracy",
        "is too high at the end. power: a true lead of one point promotes, at look 1 and look 365.",
        "  images  levels       false promotion      luck  power, first   power, last",
        *(
            row(images, asked.years, name, level)
            for images in (360, 1000, 10_000)
            for name, level in (("fresh", fresh), ("budget", budgeted))
        ),
        f"numpy {np.__version__}",
    ]
    print("\n".join(lines))
    if asked.output:
        asked.output.write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
