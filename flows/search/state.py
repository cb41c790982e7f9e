"""A search while it runs."""

import logging
import time
from dataclasses import replace
from typing import TYPE_CHECKING, Literal

from flows.records.trial_store import Answer, directory_of
from flows.search.progress import TrialObserver
from flows.search.tuning import SearchTrial, Tuning
from models.search.strategy import Job, Strategy, mean_scores
from models.trials import Outcome, Scores, TrialFailure, read_history

if TYPE_CHECKING:
    from flows.search.search import Search

log = logging.getLogger(__name__)

Action = Literal["train", "skip", "stop"]


def choose_action(known: Answer | None, *, affordable: bool, late: bool) -> Answer | Action:
    """Decide what to do with a job: use what the trial store knows, train, skip it, or stop.

    affordable: whether `search.max_epochs_total` leaves room for it; cached epochs count too, so
    that a search repeated stops at the same job. late: whether `search.max_seconds` are over; then
    jobs that are known still count, as they take no time.
    """
    if not affordable:
        return "stop"
    if known is not None:
        return known
    return "skip" if late else "train"


class SearchState:
    """State of a running search: takes jobs from the strategy, and outcomes from the caller."""

    def __init__(
        self,
        search: "Search",
        strategy: Strategy,
        observers: TrialObserver,
        *,
        max_seconds: float | None,
    ) -> None:
        self._search, self._strategy, self._observers = search, strategy, observers
        self._limits = search.params.search
        self._max_seconds = max_seconds
        self._began = time.monotonic()
        self._trials: dict[int, SearchTrial] = {}
        self._budgets: dict[int, int] = {}
        """Number of a trial -> epochs it was asked for so far."""
        self._epochs = 0
        """Sum of the budgets."""
        self._reported: set[int] = set()
        """Numbers of the trials whose end the observers know."""
        self.stopped = False
        """Whether a limit of the search was reached."""

    @property
    def trials(self) -> tuple[SearchTrial, ...]:
        """Trials begun so far, in order of proposal."""
        return tuple(trial for _, trial in sorted(self._trials.items()))

    def next_missing(self) -> tuple[Job, SearchTrial] | None:
        """Return the next job to train, and its trial; None: none now, or a limit is reached.

        Outcomes that the trial store knows are recorded on the way.
        """
        while (job := self._ask()) is not None:
            trial = self._trials.get(job.number) or self._search.trial(job.proposal)
            epochs = self._epochs + job.budget - self._budgets.get(job.number, 0)
            action = choose_action(
                self._search.stored(trial, job.budget),
                affordable=epochs <= (self._limits.max_epochs_total or epochs),
                late=self._limits.pruner == "none" and self._late(),
            )
            if action == "stop":
                most = self._limits.max_epochs_total
                self._stop(f"max_epochs_total: {self._epochs} of {most} epochs are used")
                return None
            self._trials[job.number], self._budgets[job.number] = trial, job.budget
            self._epochs = epochs
            if isinstance(action, Answer):
                self._record(job, action.outcome, action.scores)
            elif action == "train":
                return job, self._begin(job.number)
        return None

    def record(self, job: Job, outcome: Outcome) -> None:
        """Record the outcome of a job that was trained."""
        self._record(job, outcome, None if isinstance(outcome, TrialFailure) else outcome.scores)

    def close(self) -> Tuning:
        """Report the trials that were stopped early; return the result."""
        for number, trial in sorted(self._trials.items()):
            if trial.outcome is not None and number not in self._reported:
                self._trials[number] = replace(trial, pruned=True)
                self._report(number, trial.outcome)
        finished = tuple(trial for trial in self.trials if trial.outcome is not None)
        limited = (self._max_seconds, self._limits.max_epochs_total) != (None, None)
        not_begun = self._search.total - len(finished) if limited else 0
        return Tuning(finished, self._search.params.trial.objective, not_begun=not_begun)

    def _ask(self) -> Job | None:
        """Ask the strategy, unless a limit was reached.

        A pruner is not asked once time is up: its journal would hold questions without answers,
        and the search repeated would begin with them.
        """
        if not self.stopped and self._limits.pruner != "none" and self._late():
            self._stop(f"max_seconds: {self._max_seconds} s are over")
        return None if self.stopped else self._strategy.ask()

    def _late(self) -> bool:
        most = self._max_seconds
        return most is not None and time.monotonic() - self._began > most

    def _stop(self, limit: str) -> None:
        log.info("search.%s", limit)
        self.stopped = True

    def _begin(self, number: int) -> SearchTrial:
        """Return a trial, marked and reported as one that is trained now."""
        trial = self._trials[number]
        if not trial.trained:
            trial = self._trials[number] = replace(trial, trained=True)
            self._observers.trial_started(trial.spec, trial.proposal.differences, cached=False)
        return trial

    def _record(self, job: Job, outcome: Outcome, scores: Scores | None) -> None:
        self._trials[job.number] = replace(self._trials[job.number], outcome=outcome)
        full = outcome.budget >= self._limits.epochs or isinstance(outcome, TrialFailure)
        if full and job.number not in self._reported:
            self._report(job.number, outcome)
        history = read_history(directory_of(outcome.key)) if job.rung is not None else ()
        self._strategy.tell(job, scores, mean_scores(history[: job.budget]))

    def _report(self, number: int, outcome: Outcome) -> None:
        trial = self._trials[number]
        if not trial.trained:
            self._observers.trial_started(trial.spec, trial.proposal.differences, cached=True)
        self._observers.trial_finished(outcome, pruned=trial.pruned)
        self._reported.add(number)
