"""The book of a running search: what it asks, what the store answers, what came of the rest."""

import logging
import time
from dataclasses import dataclass

from flows.records.search_journal import JOURNALS, Recorded
from flows.records.trial_store import answer, cached
from flows.search.plan import Plan, PlannedTrial, SpecMaker, Tuning
from flows.search.progress import TrialObserver
from models.config import Params
from models.datasets.prepared import Manifest
from models.digests import digest_of
from models.search.proposals import Proposal
from models.search.strategies import proposer_of, strategy_of
from models.search.strategy import Job, Strategy
from models.trials import Device, Outcome, Scores, TrialFailure, TrialSpec

log = logging.getLogger(__name__)

LIMITS = {"max_epochs_total", "max_seconds"}
"""Where a search ends; no part of what it decides until then."""


@dataclass(slots=True)
class Entry:
    """A trial of the search, as far as it came."""

    proposal: Proposal
    spec: TrialSpec
    key: str
    budget: int = 0
    """Epochs asked for so far."""
    outcome: Outcome | None = None
    trained: bool = False
    """Whether it was trained now, and not taken from the store whole."""
    closed: bool = False
    """Whether nothing more is to come, and observers know."""


class Book:
    """Takes jobs from a strategy, answers them from the store, hands out those to be trained."""

    def __init__(
        self, params: Params, specs: SpecMaker, strategy: Strategy, observers: TrialObserver
    ) -> None:
        self._params, self._search = params, params.search
        self._objective = params.trial.objective
        self._specs, self._strategy, self._observers = specs, strategy, observers
        self._entries: dict[int, Entry] = {}
        self._began = time.monotonic()
        self._epochs = 0
        self._spent = False

    def next_missing(self) -> tuple[Job, Entry] | None:
        """Return a job that must be trained, and its trial; None: none now, or limits are reached.

        Jobs on the way that the store can answer are answered.
        """
        while not self._over() and (job := self._strategy.ask()) is not None:
            entry = self._enter(job)
            if self._affords(job, entry) and not self._answer(job, entry) and self._begins():
                if not entry.trained:
                    entry.trained = True
                    self._observers.trial_started(
                        entry.spec, entry.proposal.differences, cached=False
                    )
                return job, entry
        return None

    def ended(self, job: Job, outcome: Outcome) -> None:
        """Tell the strategy what a job came to."""
        scores = None if isinstance(outcome, TrialFailure) else outcome.scores
        self._settle(job, outcome, scores)

    def close(self) -> Tuning:
        """Tell who was stopped early; return the trials that came to anything, in their order."""
        begun: list[PlannedTrial] = []
        outcomes: list[Outcome] = []
        for _, entry in sorted(self._entries.items()):
            if entry.outcome is None:
                continue
            pruned = not entry.closed
            if pruned:
                self._close(entry, entry.outcome, pruned=True)
            found = None if entry.trained else entry.outcome
            begun.append(PlannedTrial(entry.proposal, entry.spec, entry.key, found, pruned=pruned))
            outcomes.append(entry.outcome)
        plan = Plan(tuple(begun), budget=self._search.epochs, objective=self._objective)
        return Tuning(plan=plan, outcomes=tuple(outcomes), not_begun=self._left_out(len(begun)))

    def _left_out(self, begun: int) -> int:
        """How many trials the limits of the search kept from being begun."""
        limits = (self._search.max_epochs_total, self._search.max_seconds)
        if limits == (None, None):
            return 0
        return max(0, proposer_of(self._params).total - begun)

    def _enter(self, job: Job) -> Entry:
        if job.number not in self._entries:
            spec = self._specs.spec(job.proposal.config)
            self._entries[job.number] = Entry(job.proposal, spec, spec.key)
        return self._entries[job.number]

    def _affords(self, job: Job, entry: Entry) -> bool:
        """Count a job's epochs, cached or not, so that a search repeated ends at the same job."""
        most = self._search.max_epochs_total
        total = self._epochs + job.budget - entry.budget
        self._spent = most is not None and total > most
        if self._spent:
            log.info("search.max_epochs_total: %d of %d epochs are used", self._epochs, most)
            return False
        self._epochs, entry.budget = total, job.budget
        return True

    def _over(self) -> bool:
        """Whether nothing more is asked for.

        A pruner is asked nothing once time is up: each question goes into its journal, and a search
        repeated would begin with those that nobody answered.
        """
        if not self._spent and self._search.pruner != "none" and self._late():
            log.info("search.max_seconds: %s s are over", self._search.max_seconds)
            self._spent = True
        return self._spent

    def _begins(self) -> bool:
        """Whether a missing trial is trained. Without a pruner, late, only cached ones are taken:
        they cost no time.
        """
        return self._search.pruner != "none" or not self._late()

    def _late(self) -> bool:
        most = self._search.max_seconds
        return most is not None and time.monotonic() - self._began > most

    def _answer(self, job: Job, entry: Entry) -> bool:
        """Settle a job from the store; False where it must be trained."""
        known = answer(entry.spec, budget=job.budget, whole=self._search.epochs, by=self._objective)
        if known is not None:
            self._settle(job, known.outcome, known.scores)
        return known is not None

    def _settle(self, job: Job, outcome: Outcome, scores: Scores | None) -> None:
        entry = self._entries[job.number]
        entry.outcome = outcome
        whole = outcome.budget >= self._search.epochs or isinstance(outcome, TrialFailure)
        if whole and not entry.closed:
            self._close(entry, outcome, pruned=False)
        self._strategy.tell(job, scores)

    def _close(self, entry: Entry, outcome: Outcome, *, pruned: bool) -> None:
        if not entry.trained:
            self._observers.trial_started(entry.spec, entry.proposal.differences, cached=True)
        self._observers.trial_finished(outcome, pruned=pruned)
        entry.closed = True


def open_book(
    params: Params,
    manifest: Manifest,
    device: Device,
    *,
    observers: TrialObserver,
    writes: bool = True,
) -> Book:
    """Open the book of a search on a dataset; one that was killed is taken up again.

    writes: whether a pruner's decisions go into its journal; else they are read from there alone.
    Raises ConfigError where a combination is impossible.
    """
    specs, strategy = SpecMaker.on(manifest, device), strategy_of(params)
    if params.search.pruner != "none":
        identity = digest_of(
            {
                "search": params.search.model_dump(mode="json", exclude=LIMITS),
                "base": specs.spec(params.trial).key,
            }
        )

        def stands(job: Job) -> bool:
            return cached(specs.spec(job.proposal.config), budget=job.budget) is not None

        path = JOURNALS / f"{identity[:16]}.jsonl"
        strategy = Recorded(strategy, path, stands=stands, writes=writes)
    return Book(params, specs, strategy, observers)
