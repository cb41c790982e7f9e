"""Rungs: epoch budgets at which a trial may be stopped, and ladders of them to climb."""

import bisect
import math
from collections.abc import Iterator, Sequence
from itertools import islice

from models.config.search import SearchParams

Badness = tuple[float, float]
"""Of a trial's scores: less is better."""
_WORST = (math.inf, math.inf)


class Rung:
    """The trials that came to one budget. All go on that did not fail, the best one first."""

    def __init__(self, budget: int) -> None:
        self.budget = budget
        self.succeeded = 0
        """How many trials came here and did not fail."""
        self._places: list[tuple[Badness, int]] = []
        self._gone_on: set[int] = set()

    def __len__(self) -> int:
        return len(self._places)

    def add(self, number: int, badness: Badness | None) -> None:
        """Rank a trial, ties by number; what failed (None) or is not finite is last, and counts."""
        finite = badness is not None and all(map(math.isfinite, badness))
        self.succeeded += finite
        bisect.insort(self._places, (badness if badness and finite else _WORST, number))

    def next(self) -> int | None:
        """Return the trial that goes on next; None: nobody may."""
        return self.best_waiting()

    def best_waiting(self, among: int | None = None) -> int | None:
        """Best trial that did not fail and did not go on yet; among the first so many."""
        first = self.succeeded if among is None else min(among, self.succeeded)
        ranked = (number for _, number in islice(self._places, first))
        return next((number for number in ranked if number not in self._gone_on), None)

    def leave(self, number: int) -> None:
        """Note that a trial goes on."""
        self._gone_on.add(number)

    @property
    def median(self) -> float:
        """Median of the objective's badness over the trials that did not fail, one at least."""
        middle = ((self.succeeded - 1) // 2, self.succeeded // 2)
        return sum(self._places[place][0][0] for place in middle) / 2


class Ladder:
    """Rungs one above the other; each decides who goes on from it."""

    def __init__(self, rungs: Sequence[Rung]) -> None:
        self.rungs = tuple(rungs)

    @property
    def climbed(self) -> bool:
        """Whether any trial has the whole budget."""
        return self.rungs[-1].succeeded > 0

    def next(self) -> tuple[int, int] | None:
        """Return who goes on, and to which rung, from the highest where anybody may."""
        for level in self._downwards():
            number = self.rungs[level].next()
            if number is not None:
                return self._leave(number, level)
        return None

    def next_alone(self) -> tuple[int, int] | None:
        """Let the best of those who came highest go on, though its rung would not."""
        for level in self._downwards():
            number = self.rungs[level].best_waiting()
            if number is not None:
                return self._leave(number, level)
        return None

    def _downwards(self) -> Iterator[int]:
        return reversed(range(len(self.rungs) - 1))

    def _leave(self, number: int, level: int) -> tuple[int, int]:
        self.rungs[level].leave(number)
        return number, level + 1


def rung_budgets(search: SearchParams) -> tuple[int, ...]:
    """Epochs of each rung: min_epochs, times reduction_factor each, and last the whole budget."""
    budgets = []
    budget = search.min_epochs
    while budget < search.epochs:
        budgets.append(budget)
        budget *= search.reduction_factor
    return (*budgets, search.epochs)


def pruned_search_epochs(search: SearchParams, reached: Iterator[int]) -> int:
    """Epochs that all trials take together, by how many of them reach each rung."""
    before = total = 0
    for budget, trials in zip(rung_budgets(search), reached, strict=False):
        total += trials * (budget - before)
        before = budget
    return total
