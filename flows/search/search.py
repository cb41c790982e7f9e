"""A search on one dataset, and its preview from the trial store."""

from dataclasses import replace
from functools import cached_property

from flows.datasets.current import PREPARED, prepared_is_current
from flows.records.search_journal import JOURNALS, JournaledStrategy
from flows.records.trial_store import Answer, answer, cached, directory_of
from flows.search.progress import Observers, TrialObserver
from flows.search.state import SearchState
from flows.search.tuning import Preview, SearchTrial, Tuning
from models.config import Params
from models.datasets.prepared import Manifest, read_manifest
from models.digests import digest_of
from models.search.confirmation import confirmation_trials, with_other_seeds
from models.search.proposals import Proposal
from models.search.search_space import search_space
from models.search.strategies import FullBudgetSearch, expected_epochs, strategy_of
from models.search.strategy import FixedProposer, Job, Strategy
from models.training.processor import computes_bf16, instruction_set
from models.training.source import package_versions, training_source_digest
from models.trials import Device, Outcome, TrialSpec, read_history

LIMITS = {"max_epochs_total", "max_seconds", "trial_timeout_minutes"}
"""Fields of `search:` that say when it or one of its trials ends, and decide nothing until then."""


class Search:
    """A search on one dataset; opened once, previewed, then run."""

    def __init__(
        self, params: Params, manifest: Manifest, device: Device, *, again: bool = False
    ) -> None:
        """again: whether trials that timed out are tried again within the same limit."""
        self.params, self.manifest = params, manifest
        self._again = again
        self._limit_minutes = None if again else params.search.trial_timeout_minutes
        on_cpu = device == "cpu"
        self._bf16 = on_cpu and computes_bf16()
        self._base = TrialSpec(
            config=params.trial.in_precision(bf16=self._bf16),
            dataset=manifest.digest,
            source=training_source_digest(),
            versions=package_versions(),
            device=device,
            instructions=instruction_set() if on_cpu else None,
        )
        self._stored: dict[tuple[str, int], Answer | None] = {}

    def start(self, observers: TrialObserver) -> SearchState:
        """Start the search; with a pruner, one that was killed resumes from its journal.

        Raises ConfigError if a combination is impossible.
        """
        seconds = self.params.search.max_seconds
        return SearchState(self, self._strategy(writes=True), observers, max_seconds=seconds)

    @cached_property
    def preview(self) -> Preview:
        """The search as far as the trial store and the journal have it; nothing is written.

        `search.max_seconds` is disregarded. Raises ConfigError if a combination is impossible.
        """
        state = SearchState(self, self._strategy(writes=False), Observers(()), max_seconds=None)
        if not list(iter(state.next_missing, None)):
            return self._confirmed(state.close())
        epochs = self.params.search.epochs
        trials = tuple(
            replace(trial, outcome=self._cached(trial, epochs), trained=False)
            for trial in state.trials
        )
        later = 0 if state.stopped else self.total - len(trials)
        missing = [trial for trial in trials if trial.outcome is None]
        expected = expected_epochs(self.params.search, len(missing) + later)
        left = expected - sum(_epochs_trained(trial, most=epochs) for trial in missing)
        confirming = confirmation_trials(self.params.search, self.total)
        return Preview(trials, later + confirming, epochs_left=max(0, left) + confirming * epochs)

    def _confirmed(self, tuning: Tuning) -> Preview:
        """Preview the confirmation of a search whose outcomes are all there."""
        state = self.confirm(tuning, Observers(()))
        if state is None:
            return Preview(tuning.trials, result=tuning)
        missing = [trial for _, trial in iter(state.next_missing, None)]
        if not missing:
            result = self.after(tuning, state)
            return Preview((*tuning.trials, *result.confirming), result=result)
        epochs = self.params.search.epochs
        trained = sum(_epochs_trained(trial, most=epochs) for trial in missing)
        left = len(missing) * epochs - trained
        return Preview((*tuning.trials, *state.trials), epochs_left=left)

    def confirm(self, tuning: Tuning, observers: TrialObserver) -> SearchState | None:
        """Begin the confirmation of a search's result; None: none is asked for, or possible.

        No limit of the search holds for it: what it takes is known beforehand.
        """
        search = self.params.search
        if search.confirm is None:
            return None
        seeds = search.confirm.seeds
        best = tuning.candidates(search.confirm.top)
        proposals = [one for trial in best for one in with_other_seeds(trial.proposal, seeds)]
        if not proposals:
            return None
        free = {"pruner": "none", "max_epochs_total": None, "max_seconds": None}
        params = self.params.model_copy(update={"search": search.model_copy(update=free)})
        again = Search(params, self.manifest, self._base.device, again=self._again)
        strategy = FullBudgetSearch(FixedProposer(proposals), epochs=search.epochs)
        return SearchState(again, strategy, observers, max_seconds=None)

    def after(self, tuning: Tuning, confirmation: SearchState) -> Tuning:
        """Return a search's result after its confirmation, which has ended."""
        assert self.params.search.confirm is not None
        top = self.params.search.confirm.top
        return tuning.confirmed_by(confirmation.close().trials, top=top)

    @property
    def total(self) -> int:
        """Number of trials, without limits."""
        return len(search_space(self.params))

    def trial(self, proposal: Proposal) -> SearchTrial:
        """Return the trial of a proposal."""
        config = proposal.config.in_precision(bf16=self._bf16)
        spec = self._base.model_copy(update={"config": config})
        return SearchTrial(proposal, spec, spec.key)

    def stored(self, trial: SearchTrial, budget: int) -> Answer | None:
        """Return what the trial store knows of a trial at a budget.

        The store is read once for the preview and the search: no other process writes these trials.
        """
        if (trial.key, budget) not in self._stored:
            self._stored[trial.key, budget] = answer(
                trial.spec,
                budget=budget,
                whole=self.params.search.epochs,
                by=self.params.trial.objective,
                limit_minutes=self._limit_minutes,
            )
        return self._stored[trial.key, budget]

    def _strategy(self, *, writes: bool) -> Strategy:
        """Return the strategy; with a pruner, its decisions are journaled, or only read there."""
        strategy, search = strategy_of(self.params), self.params.search
        if search.pruner == "none":
            return strategy
        decisive = search.model_dump(mode="json", exclude={*LIMITS, "refit", "confirm"})
        identity = digest_of({"search": decisive, "base": self._base.key})
        path = JOURNALS / f"{identity[:16]}.jsonl"
        return JournaledStrategy(strategy, path, stands=self._stands, writes=writes)

    def _stands(self, job: Job) -> bool:
        """Whether a job that failed would fail again."""
        return self._cached(self.trial(job.proposal), job.budget) is not None

    def _cached(self, trial: SearchTrial, budget: int) -> Outcome | None:
        return cached(trial.spec, budget=budget, limit_minutes=self._limit_minutes)


def open_prepared_search(params: Params, device: Device, *, again: bool = False) -> Search | None:
    """Open the search on data/prepared/; None if that was not made of these params and batches.

    again: as `Search` takes it.
    """
    current = prepared_is_current(params.data)
    return Search(params, read_manifest(PREPARED), device, again=again) if current else None


def _epochs_trained(trial: SearchTrial, *, most: int) -> int:
    epochs = len(read_history(directory_of(trial.key)))
    return epochs if epochs <= most else 0  # a trial with more is trained again from the start
