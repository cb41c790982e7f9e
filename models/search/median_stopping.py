"""The median stopping rule (Golovin et al., 2017), applied at rungs."""

from collections import deque
from collections.abc import Iterator

from models.config.search import SearchParams
from models.search.rungs import Badness, Bracket, Rung, epochs_of_rungs


class MedianRung(Rung):
    """A rung from which a trial advances if it is no worse than the median of earlier trials.

    Failed trials are not compared with. If fewer than min_trials trials reached the rung before
    without failing, every trial advances.
    """

    def __init__(self, budget: int, *, min_trials: int) -> None:
        super().__init__(budget)
        self._min_trials = min_trials
        self._waiting: deque[int] = deque()

    def add(self, number: int, badness: Badness | None) -> None:
        before, median = self.succeeded, self.median if self.succeeded else 0.0
        super().add(number, badness)
        succeeds = self.succeeded > before
        if badness and succeeds and (before < self._min_trials or badness[0] <= median):
            self._waiting.append(number)

    def next_to_advance(self) -> int | None:
        return self._waiting[0] if self._waiting else None

    def mark_advanced(self, number: int) -> None:
        super().mark_advanced(number)
        if number in self._waiting:
            self._waiting.remove(number)


def median_bracket(search: SearchParams) -> Bracket:
    """Return the bracket in which every rung applies the median rule."""
    return Bracket([MedianRung(budget, min_trials=search.min_trials) for budget in search.rungs])


def median_epochs(search: SearchParams, trials: int) -> int:
    """Epochs that this many trials take in total if each rung stops half of the later ones."""
    return epochs_of_rungs(search, _trials_at_rungs(search, trials))


def _trials_at_rungs(search: SearchParams, trials: int) -> Iterator[int]:
    for _ in search.rungs:
        yield trials
        exempt = min(trials, search.min_trials)
        trials = exempt + (trials - exempt + 1) // 2
