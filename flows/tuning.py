"""A search before and after it is run: its trials, and what they came to."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass

from flows.dataset_version import PREPARED, DatasetVersion, RawVersion, prepared_is_current
from flows.requests import BestTrial, DatasetName, LeaderboardEntry, Retraining, TrialCounts
from flows.trial_store import answer, cached, directory_of
from models.config import Params, TrialConfig
from models.config.trial import Objective
from models.datasets.prepared import Manifest, read_manifest
from models.decision import Decision
from models.search.proposals import Proposal
from models.search.selection import rank, select_best
from models.search.strategies import first_budget, planned_epochs, proposer_of
from models.training.source import package_versions, training_source_digest
from models.trials import (
    Device,
    Outcome,
    TrialFailure,
    TrialResult,
    TrialSpec,
    read_history,
)


@dataclass(frozen=True, slots=True)
class PlannedTrial:
    """A trial of the search, and its outcome where the store has one."""

    proposal: Proposal
    spec: TrialSpec
    key: str
    cached: Outcome | None
    pruned: bool = False
    """Whether the search stopped it before the whole budget."""

    @property
    def state(self) -> str:
        """pruned, cached or trained: as leaderboards show it."""
        if self.pruned:
            return "pruned"
        return "cached" if self.cached is not None else "trained"


@dataclass(frozen=True, slots=True)
class Plan:
    """The trials of a search: before it is run all that are certain, after it those begun."""

    trials: tuple[PlannedTrial, ...]
    budget: int
    objective: Objective
    later: int = 0
    """Trials that are chosen by what others come to."""

    @property
    def total(self) -> int:
        """Trials in all."""
        return len(self.trials) + self.later

    @property
    def missing(self) -> tuple[PlannedTrial, ...]:
        """Trials that must be trained."""
        return tuple(trial for trial in self.trials if trial.cached is None)


@dataclass(frozen=True, slots=True)
class Tuning:
    """A search after it was run: an outcome for each trial of the plan, in its order."""

    plan: Plan
    outcomes: tuple[Outcome, ...]

    @property
    def best(self) -> TrialResult:
        """The selected trial; raises NoTrialSucceededError."""
        return select_best(self.outcomes, self.plan.objective)

    @property
    def counts(self) -> TrialCounts:
        """Trials by what became of them; a failed or pruned one counts as that only."""
        states = Counter(
            "failed" if isinstance(outcome, TrialFailure) else trial.state
            for trial, outcome in zip(self.plan.trials, self.outcomes, strict=True)
        )
        return TrialCounts(
            total=len(self.outcomes),
            trained=states["trained"],
            cached=states["cached"],
            pruned=states["pruned"],
            failed=states["failed"],
        )

    def ranked(self) -> Iterator[tuple[PlannedTrial, TrialResult]]:
        """Successful trials with their place in the plan, best first."""
        planned = {trial.key: trial for trial in self.plan.trials}
        for result in rank(self.outcomes, self.plan.objective):
            yield planned[result.key], result

    @property
    def leaderboard(self) -> tuple[LeaderboardEntry, ...]:
        """Successful trials, best first."""
        return tuple(
            LeaderboardEntry(
                key=result.key,
                differences=trial.proposal.differences,
                scores=result.scores,
                epochs=result.epochs,
                seconds=result.seconds,
                cached=trial.cached is not None,
                pruned=trial.pruned,
            )
            for trial, result in self.ranked()
        )

    def failures(self) -> Iterator[tuple[PlannedTrial, TrialFailure]]:
        """Failed trials, in the order of the plan."""
        for trial, outcome in zip(self.plan.trials, self.outcomes, strict=True):
            if isinstance(outcome, TrialFailure):
                yield trial, outcome


@dataclass(frozen=True, slots=True)
class SpecMaker:
    """Makes the TrialSpec of a config: on one dataset, with the code and packages of now."""

    dataset: str
    source: str
    versions: dict[str, str]
    device: Device

    @classmethod
    def on(cls, manifest: Manifest, device: Device) -> "SpecMaker":
        """Make one for the dataset of a manifest, and the kind of processor trained on."""
        return cls(manifest.digest, training_source_digest(), package_versions(), device)

    def spec(self, config: TrialConfig) -> TrialSpec:
        """Say what identifies the trial of a config."""
        return TrialSpec(
            config=config,
            dataset=self.dataset,
            source=self.source,
            versions=self.versions,
            device=self.device,
        )


def plan_search(params: Params, manifest: Manifest, device: Device) -> Plan:
    """Say which trials a search on this dataset has, and look each up in the store.

    A search that learns is taken as far as the store can answer it.
    Raises ConfigError where a combination is impossible.
    """
    search, by = params.search, params.trial.objective
    specs = SpecMaker.on(manifest, device)
    proposer, trials = proposer_of(params), list[PlannedTrial]()
    while (proposal := proposer.propose()) is not None:
        spec = specs.spec(proposal.config)
        known = answer(spec, budget=first_budget(search), whole=search.epochs, by=by)
        if known is not None:
            proposer.learn(len(trials), known.scores)
        whole = cached(spec, budget=search.epochs)
        trials.append(PlannedTrial(proposal=proposal, spec=spec, key=spec.key, cached=whole))
    return Plan(
        trials=tuple(trials),
        budget=search.epochs,
        objective=by,
        later=proposer.total - len(trials),
    )


def epochs_left(params: Params, plan: Plan) -> int:
    """Epochs that missing trials are expected to take yet, without those they have behind them."""
    planned = planned_epochs(params, len(plan.missing) + plan.later)
    return max(0, planned - sum(_epochs_done(trial, plan.budget) for trial in plan.missing))


def _epochs_done(trial: PlannedTrial, budget: int) -> int:
    epochs = len(read_history(directory_of(trial.key)))
    return epochs if epochs <= budget else 0  # one that went beyond is trained to it anew


def known_tuning(params: Params, device: Device) -> Tuning | None:
    """Return a search that the store answers whole, its data being as it was; None: it must run.

    Needs neither Prefect nor MLflow, and torch for a Gaussian process alone.
    """
    search = params.search
    # Where a search with a pruner or a budget ends is for the search itself to say.
    limited = search.pruner != "none" or search.max_epochs_total
    if limited or not prepared_is_current(params.data):
        return None
    plan = plan_search(params, read_manifest(PREPARED), device)
    outcomes = tuple(trial.cached for trial in plan.trials if trial.cached is not None)
    return Tuning(plan, outcomes) if len(outcomes) == plan.total else None


def searched(
    decision: Decision, tuning: Tuning, dataset: DatasetVersion | RawVersion
) -> Retraining:
    """What is known after the search; raises NoTrialSucceededError where no trial did."""
    best = tuning.best
    return Retraining(
        decision=decision,
        trials=tuning.counts,
        best=BestTrial(key=best.key, config=best.config, scores=best.scores),
        dataset=DatasetName(name=dataset.name, digest=dataset.digest),
        leaderboard=tuning.leaderboard,
    )
