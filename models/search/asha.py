"""Asynchronous successive halving (Li et al., 2020): weak trials end early, and nobody waits.

A rung is an epoch budget at which a trial may be stopped. Whenever a worker is free, the best
unpromoted trial among the first 1/reduction_factor of a rung goes on to the next one, higher rungs
first; where there is none, a new trial begins.
"""

import bisect
import math
from collections.abc import Iterator

from models.config.search import SearchParams
from models.config.trial import Objective
from models.search.proposals import Proposal
from models.search.strategy import Job, Proposer
from models.trials import Scores

Place = tuple[tuple[float, float], int]
"""Badness and number of a trial: less is better, ties go to the earlier trial."""
_WORST = (math.inf, math.inf)


class Rung:
    """The trials that came to one budget."""

    def __init__(self, budget: int) -> None:
        self.budget = budget
        self._places: list[Place] = []
        self._promoted: set[int] = set()

    def add(self, number: int, badness_: tuple[float, float]) -> None:
        """Rank a trial; what failed or is not finite ranks last, and counts."""
        finite = all(map(math.isfinite, badness_))
        bisect.insort(self._places, (badness_ if finite else _WORST, number))

    def promotable(self, reduction: int) -> int | None:
        """Best trial of the first 1/reduction that did not go on yet."""
        return next(self._waiting(len(self._places) // reduction), None)

    def best_waiting(self) -> int | None:
        """Best trial that did not go on yet."""
        return next(self._waiting(len(self._places)), None)

    def promote(self, number: int) -> None:
        """Note that a trial goes on."""
        self._promoted.add(number)

    @property
    def succeeded(self) -> bool:
        """Whether any trial came here and did not fail."""
        return bool(self._places) and self._places[0][0] != _WORST

    def _waiting(self, first: int) -> Iterator[int]:
        for place, number in self._places[:first]:
            if number not in self._promoted and place != _WORST:
                yield number


class Asha:
    """Promotes trials from rung to rung, a pure function of what was asked and told, in order."""

    def __init__(self, proposer: Proposer, search: SearchParams, *, by: Objective) -> None:
        self._proposer, self._by = proposer, by
        self._reduction = search.reduction_factor
        self._rungs = [Rung(budget) for budget in rung_budgets(search)]
        self._trials: list[Proposal] = []
        self._pending = 0

    def ask(self) -> Job | None:
        """Promote if somebody may be, else begin a trial.

        Once there are none left and all was told, the best trial goes on alone until one has the
        whole budget: few trials are never stopped all.
        """
        for level in reversed(range(len(self._rungs) - 1)):
            number = self._rungs[level].promotable(self._reduction)
            if number is not None:
                return self._promote(number, level)
        proposal = self._proposer.propose()
        if proposal is not None:
            self._trials.append(proposal)
            return self._job(len(self._trials) - 1, level=0)
        return None if self._pending else self._last()

    def tell(self, job: Job, scores: Scores | None) -> None:
        """Rank the trial at its rung; the proposer learns from the lowest, where all come."""
        self._pending -= 1
        assert job.rung is not None
        self._rungs[job.rung].add(job.number, scores.badness(self._by) if scores else _WORST)
        if job.rung == 0:
            self._proposer.learn(job.number, scores)

    def _last(self) -> Job | None:
        if self._rungs[-1].succeeded:
            return None
        for level in reversed(range(len(self._rungs) - 1)):
            number = self._rungs[level].best_waiting()
            if number is not None:
                return self._promote(number, level)
        return None

    def _promote(self, number: int, level: int) -> Job:
        self._rungs[level].promote(number)
        return self._job(number, level=level + 1)

    def _job(self, number: int, *, level: int) -> Job:
        self._pending += 1
        return Job(
            number=number,
            proposal=self._trials[number],
            budget=self._rungs[level].budget,
            final=level == len(self._rungs) - 1,
            rung=level,
        )


def rung_budgets(search: SearchParams) -> tuple[int, ...]:
    """Epochs of each rung: min_epochs, times reduction_factor each, and last the whole budget."""
    budgets = []
    budget = search.min_epochs
    while budget < search.epochs:
        budgets.append(budget)
        budget *= search.reduction_factor
    return (*budgets, search.epochs)


def expected_epochs(search: SearchParams, trials: int) -> int:
    """Epochs that so many trials take all together if each rung passes on its share."""
    before = total = 0
    for level, budget in enumerate(rung_budgets(search)):
        reached = max(min(trials, 1), trials // search.reduction_factor**level)
        total += reached * (budget - before)
        before = budget
    return total
