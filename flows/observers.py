"""Who is told as a search goes on: the terminal, and the mirror into MLflow."""

from collections.abc import Sequence
from typing import Protocol

from models.trials import EpochRecord, Outcome, TrialSpec


class TrialObserver(Protocol):
    """Told of each trial's beginning, epochs and end; from any thread, and never to raise."""

    def trial_started(
        self, spec: TrialSpec, differences: dict[str, str], *, cached: bool
    ) -> None: ...

    def epoch(self, key: str, record: EpochRecord) -> None: ...

    def trial_finished(self, outcome: Outcome, *, pruned: bool = False) -> None: ...


class Observers:
    """Several observers told as one."""

    def __init__(self, observers: Sequence[TrialObserver]) -> None:
        self._observers = tuple(observers)

    def trial_started(self, spec: TrialSpec, differences: dict[str, str], *, cached: bool) -> None:
        for observer in self._observers:
            observer.trial_started(spec, differences, cached=cached)

    def epoch(self, key: str, record: EpochRecord) -> None:
        for observer in self._observers:
            observer.epoch(key, record)

    def trial_finished(self, outcome: Outcome, *, pruned: bool = False) -> None:
        for observer in self._observers:
            observer.trial_finished(outcome, pruned=pruned)
