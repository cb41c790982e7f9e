"""The median stopping rule (Golovin et al., 2017), at rungs."""

from collections import deque
from collections.abc import Iterator

from models.config.search import SearchParams
from models.search.rungs import Badness, Ladder, Rung, climbing_epochs, rung_budgets


class MedianRung(Rung):
    """A trial goes on that is no worse than the median of those that came before it.

    Trials that failed have no score to be compared with. Where fewer than min_trials came before,
    and did not fail, everybody goes on.
    """

    def __init__(self, budget: int, *, min_trials: int) -> None:
        super().__init__(budget)
        self._min_trials = min_trials
        self._passed: deque[int] = deque()

    def add(self, number: int, badness: Badness | None) -> None:
        before, median = self.succeeded, self.median if self.succeeded else 0.0
        super().add(number, badness)
        succeeds = self.succeeded > before
        if badness and succeeds and (before < self._min_trials or badness[0] <= median):
            self._passed.append(number)

    def next(self) -> int | None:
        return self._passed[0] if self._passed else None

    def leave(self, number: int) -> None:
        super().leave(number)
        if number in self._passed:
            self._passed.remove(number)


def median_ladder(search: SearchParams) -> Ladder:
    """Rungs of the median rule."""
    return Ladder(
        [MedianRung(budget, min_trials=search.min_trials) for budget in rung_budgets(search)]
    )


def median_epochs(search: SearchParams, trials: int) -> int:
    """Epochs that so many trials take all together if each rung stops half of the later ones."""
    return climbing_epochs(search, _reaching(search, trials))


def _reaching(search: SearchParams, trials: int) -> Iterator[int]:
    reaching = trials
    for _ in rung_budgets(search):
        yield reaching
        spared = min(reaching, search.min_trials)
        reaching = spared + (reaching - spared + 1) // 2
