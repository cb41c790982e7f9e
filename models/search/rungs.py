"""Rungs: epoch budgets at which a trial may be stopped; and brackets, sequences of rungs."""

import bisect
import math
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice

from models.config.search import SearchParams

Badness = tuple[float, float]
"""Sorting key of a trial's scores: less is better."""
_WORST = (math.inf, math.inf)


class Rung:
    """The trials trained to one budget. All but failed ones advance, the best first."""

    stops = False
    """Whether trials may be stopped here for their scores."""

    def __init__(self, budget: int) -> None:
        self.budget = budget
        self.succeeded = 0
        """Trials at this rung that did not fail."""
        self._ranking: list[tuple[Badness, int]] = []
        self._advanced: set[int] = set()

    def __len__(self) -> int:
        return len(self._ranking)

    def add(self, number: int, badness: Badness | None, average: float | None = None) -> None:
        """Rank a trial; ties go to the lower number.

        badness: None for a failed trial; it and scores that are not finite rank last, and count.
        average: mean of the objective's badness over the trial's epochs, of which only the median
        rule takes notice; None: not known.
        """
        del average
        finite = badness is not None and all(map(math.isfinite, badness))
        self.succeeded += finite
        bisect.insort(self._ranking, (badness if badness and finite else _WORST, number))

    def next_to_advance(self) -> int | None:
        """Return the trial that advances next; None: no trial may."""
        return self.best_waiting()

    def best_waiting(self, *, top: int | None = None) -> int | None:
        """Return the best trial that did not fail and has not advanced, among the top ranks."""
        ranks = self.succeeded if top is None else min(top, self.succeeded)
        ranked = (number for _, number in islice(self._ranking, ranks))
        return next((number for number in ranked if number not in self._advanced), None)

    def mark_advanced(self, number: int) -> None:
        """Record that a trial advances to the next rung."""
        self._advanced.add(number)


class Bracket:
    """Rungs in ascending order of budget; each decides which of its trials advance."""

    def __init__(self, rungs: Sequence[Rung]) -> None:
        self.rungs = tuple(rungs)

    @property
    def least(self) -> int:
        """Epochs that every trial is given, but for failures."""
        return next((rung.budget for rung in self.rungs if rung.stops), self.rungs[-1].budget)

    @property
    def complete(self) -> bool:
        """Whether a trial was trained to the full budget."""
        return self.rungs[-1].succeeded > 0

    def advance(self) -> tuple[int, int] | None:
        """Advance a trial from the highest rung that lets one; return it and its new rung."""
        for level in self._below_top():
            number = self.rungs[level].next_to_advance()
            if number is not None:
                return self._advance(number, level)
        return None

    def advance_best(self) -> tuple[int, int] | None:
        """Advance the best trial of the highest rung reached, though the rung would not."""
        for level in self._below_top():
            number = self.rungs[level].best_waiting()
            if number is not None:
                return self._advance(number, level)
        return None

    def _below_top(self) -> Iterator[int]:
        return reversed(range(len(self.rungs) - 1))

    def _advance(self, number: int, level: int) -> tuple[int, int]:
        self.rungs[level].mark_advanced(number)
        return number, level + 1


def epochs_of_rungs(search: SearchParams, trials: Iterable[int]) -> int:
    """Epochs that all trials take in total, from the number of trials trained to each rung."""
    before = total = 0
    for budget, count in zip(search.rungs, trials, strict=False):
        total += count * (budget - before)
        before = budget
    return total
