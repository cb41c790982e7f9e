"""Asynchronous successive halving (Li et al., 2020): weak trials end early, and nobody waits.

Whenever a worker is free, the best trial that still waits among the first 1/reduction_factor of a
rung goes on to the next one, higher rungs first; where there is none, a new trial begins.
"""

from collections.abc import Iterator

from models.config.search import SearchParams
from models.search.rungs import Ladder, Rung, pruned_search_epochs, rung_budgets


class HalvingRung(Rung):
    """One trial in so many goes on."""

    def __init__(self, budget: int, *, reduction: int) -> None:
        super().__init__(budget)
        self._reduction = reduction

    def next(self) -> int | None:
        return self.best_waiting(len(self) // self._reduction)


def halving_ladder(search: SearchParams, *, spared: int = 0) -> Ladder:
    """Rungs of successive halving; on the lowest so many, nobody is stopped."""
    budgets, reduction = rung_budgets(search), search.reduction_factor
    return Ladder(
        [
            *(Rung(budget) for budget in budgets[:spared]),
            *(HalvingRung(budget, reduction=reduction) for budget in budgets[spared:]),
        ]
    )


def halving_epochs(search: SearchParams, trials: int, *, spared: int = 0) -> int:
    """Epochs that so many trials take all together if each rung passes on its share."""
    return pruned_search_epochs(search, _reaching(search, trials, spared))


def _reaching(search: SearchParams, trials: int, spared: int) -> Iterator[int]:
    for level in range(len(rung_budgets(search))):
        passed = trials // search.reduction_factor ** max(0, level - spared)
        yield max(min(trials, 1), passed)
