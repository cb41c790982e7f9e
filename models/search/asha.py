"""Asynchronous successive halving, ASHA (Li et al., 2020).

Whenever a worker is free, the best trial not yet advanced among the top 1/reduction_factor of a
rung advances to the next rung, higher rungs first; if there is none, a new trial starts.
"""

from collections.abc import Iterator

from models.config.search import SearchParams
from models.search.rungs import Bracket, Rung, epochs_of_rungs


class HalvingRung(Rung):
    """A rung from which the top 1/reduction_factor of the trials advance."""

    stops = True

    def __init__(self, budget: int, *, reduction_factor: int) -> None:
        super().__init__(budget)
        self._reduction_factor = reduction_factor

    def next_to_advance(self) -> int | None:
        return self.best_waiting(top=len(self) // self._reduction_factor)


def halving_bracket(search: SearchParams, *, first_rung: int = 0) -> Bracket:
    """Return a bracket of successive halving that stops no trial below first_rung."""
    budgets, factor = search.rungs, search.reduction_factor
    return Bracket(
        [
            *(Rung(budget) for budget in budgets[:first_rung]),
            *(HalvingRung(budget, reduction_factor=factor) for budget in budgets[first_rung:]),
        ]
    )


def halving_epochs(search: SearchParams, trials: int, *, first_rung: int = 0) -> int:
    """Epochs that a bracket of this many trials takes if each rung advances its full share."""
    return epochs_of_rungs(search, _trials_at_rungs(search, trials, first_rung))


def _trials_at_rungs(search: SearchParams, trials: int, first_rung: int) -> Iterator[int]:
    for rung in range(len(search.rungs)):
        advanced = trials // search.reduction_factor ** max(0, rung - first_rung)
        yield max(min(trials, 1), advanced)
