"""The median stopping rule of Vizier (Golovin et al., 2017), applied at rungs.

A trial is stopped where the best it ever scored is strictly worse than the median of what the
others scored on average up to that epoch: whoever stands still at its best is no worse than a
median of averages that include poor beginnings.
"""

from collections import deque
from collections.abc import Iterator
from statistics import median

from models.config.search import SearchParams
from models.search.rungs import Badness, Bracket, Rung, epochs_of_rungs


class MedianRung(Rung):
    """A rung from which a trial advances if its best is no worse than the median of averages.

    These are of the trials that reached the rung before. Failed trials are not compared with. If
    fewer than min_trials trials reached the rung before without failing, every trial advances.
    """

    stops = True

    def __init__(self, budget: int, *, min_trials: int) -> None:
        super().__init__(budget)
        self._min_trials = min_trials
        self._averages: list[float] = []
        """Of the trials that did not fail, in the order in which they came."""
        self._waiting: deque[int] = deque()

    def add(self, number: int, badness: Badness | None, average: float | None = None) -> None:
        before = self.succeeded
        super().add(number, badness)
        if badness is None or self.succeeded == before:
            return
        if before < self._min_trials or badness[0] <= median(self._averages):
            self._waiting.append(number)
        self._averages.append(badness[0] if average is None else average)

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
