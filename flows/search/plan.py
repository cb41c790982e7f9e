"""The trials of a search and what they came to, as records."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass

from flows.records.retraining import LeaderboardEntry, TrialCounts
from models.config import TrialConfig
from models.config.trial import Objective
from models.datasets.prepared import Manifest
from models.search.proposals import Proposal
from models.search.selection import rank, select_best
from models.training.source import package_versions, training_source_digest
from models.trials import Device, Outcome, TrialFailure, TrialResult, TrialSpec


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
    not_begun: int = 0
    """Trials that the limits of the search left out."""

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
