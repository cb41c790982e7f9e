"""The search: which trials there are, which are in the store already, and the rest trained."""

from collections.abc import Iterator
from dataclasses import dataclass

from flows.requests import LeaderboardEntry, TrialCounts
from flows.trial_store import cached
from models.config import Params
from models.config.trial import Objective
from models.datasets.prepared import Manifest
from models.search.fixed import fixed_proposals
from models.search.proposals import Proposal
from models.search.selection import rank, select_best
from models.training.source import package_versions, training_source_digest
from models.trials import Outcome, TrialFailure, TrialResult, TrialSpec


@dataclass(frozen=True, slots=True)
class PlannedTrial:
    """A trial of the search, and its outcome where the store has one."""

    proposal: Proposal
    spec: TrialSpec
    key: str
    cached: Outcome | None


@dataclass(frozen=True, slots=True)
class Plan:
    """A whole search before it is run."""

    trials: tuple[PlannedTrial, ...]
    budget: int
    objective: Objective

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
        """Trials by what became of them; a failed one counts as failed only."""
        failed = sum(isinstance(outcome, TrialFailure) for outcome in self.outcomes)
        reused = sum(isinstance(trial.cached, TrialResult) for trial in self.plan.trials)
        total = len(self.outcomes)
        return TrialCounts(
            total=total, cached=reused, failed=failed, trained=total - reused - failed
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
            )
            for trial, result in self.ranked()
        )

    def failures(self) -> Iterator[tuple[PlannedTrial, TrialFailure]]:
        """Failed trials, in the order of the plan."""
        for trial, outcome in zip(self.plan.trials, self.outcomes, strict=True):
            if isinstance(outcome, TrialFailure):
                yield trial, outcome


def plan_search(params: Params, manifest: Manifest) -> Plan:
    """Enumerate the search's trials on this dataset and look each up in the store."""
    source, versions = training_source_digest(), package_versions()
    budget = params.search.epochs
    trials = []
    for proposal in fixed_proposals(params):
        spec = TrialSpec(
            config=proposal.config, dataset=manifest.digest, source=source, versions=versions
        )
        trials.append(
            PlannedTrial(
                proposal=proposal,
                spec=spec,
                key=spec.key,
                cached=cached(spec, budget=budget),
            )
        )
    return Plan(trials=tuple(trials), budget=budget, objective=params.trial.objective)
