"""Records of a search: its trials, a preview from the trial store, and its result."""

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from flows.datasets.current import DatasetVersion, RawVersion
from flows.records.retraining import (
    BestTrial,
    DatasetName,
    LeaderboardEntry,
    Retraining,
    TrialCounts,
)
from models.config.trial import Objective
from models.decision import Decision
from models.evaluation.records import Baseline, Distinction, FromBest, Optimism
from models.search.proposals import Proposal
from models.search.selection import rank, select_best
from models.trials import Outcome, TrialFailure, TrialResult, TrialSpec


@dataclass(frozen=True, slots=True)
class SearchTrial:
    """A trial of a search."""

    proposal: Proposal
    spec: TrialSpec
    key: str
    outcome: Outcome | None = None
    """None: it is missing from the trial store."""
    trained: bool = False
    """Whether this search trained it; else its outcome was in the trial store."""
    pruned: bool = False
    """Whether the search stopped it before the full budget."""

    @property
    def state(self) -> str:
        """failed, pruned, trained or cached."""
        if isinstance(self.outcome, TrialFailure):
            return "failed"
        if self.pruned:
            return "pruned"
        return "trained" if self.trained else "cached"


@dataclass(frozen=True, slots=True)
class Comparison:
    """The selected trial against the others, on validation."""

    optimism: Optimism | None = None
    """None: there was no choice, or the weights of the others are gone."""
    distinction: Distinction | None = None
    """None likewise."""
    from_best: Mapping[str, FromBest] = field(default_factory=dict)
    """Key -> test, of each trial that was tested."""

    @property
    def metrics(self) -> dict[str, float]:
        """Numbers for MLflow's parent run; what is not known is left out."""
        found: dict[str, float] = {}
        if self.optimism is not None:
            found["validation/optimism"] = self.optimism.excess
        if self.distinction is not None:
            found["validation/not_distinguishable"] = self.distinction.alike
        return found


@dataclass(frozen=True, slots=True)
class Tuning:
    """The result of a search: the trials that have an outcome, in order of proposal."""

    trials: tuple[SearchTrial, ...]
    objective: Objective
    not_begun: int = 0
    """Trials that the search's limits left out."""
    baselines: tuple[Baseline, ...] = ()
    """Best first; empty unless `search.baselines`."""
    comparison: Comparison = Comparison()

    @property
    def outcomes(self) -> tuple[Outcome, ...]:
        """Outcome of each trial."""
        return tuple(trial.outcome for trial in self.trials if trial.outcome is not None)

    @property
    def best(self) -> TrialResult:
        """The selected trial; raises NoTrialSucceededError."""
        return select_best(self.outcomes, self.objective)

    @property
    def counts(self) -> TrialCounts:
        """Number of trials in each state."""
        states = Counter(trial.state for trial in self.trials)
        return TrialCounts(total=len(self.trials), **states)

    def ranked(self) -> Iterator[tuple[SearchTrial, TrialResult]]:
        """Successful trials with their results, best first."""
        trials = {trial.key: trial for trial in self.trials}
        for result in rank(self.outcomes, self.objective):
            yield trials[result.key], result

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
                cached=not trial.trained,
                pruned=trial.pruned,
                from_best=self.comparison.from_best.get(result.key),
            )
            for trial, result in self.ranked()
        )

    def failures(self) -> Iterator[tuple[SearchTrial, TrialFailure]]:
        """Failed trials, in order of proposal."""
        for trial in self.trials:
            if isinstance(trial.outcome, TrialFailure):
                yield trial, trial.outcome


@dataclass(frozen=True, slots=True)
class Preview:
    """What a search would train, as far as that is known before it runs."""

    trials: tuple[SearchTrial, ...]
    """Those already proposed."""
    later: int = 0
    """Trials that will be chosen by the outcomes of earlier ones."""
    epochs_left: int = 0
    """Epochs that will be trained, by expectation; those already trained are not counted."""
    result: Tuning | None = None
    """Result of the search, if the trial store has all of it."""

    @property
    def total(self) -> int:
        """Number of trials in all."""
        return len(self.trials) + self.later

    @property
    def missing(self) -> tuple[SearchTrial, ...]:
        """Trials that would be trained."""
        return tuple(trial for trial in self.trials if trial.outcome is None)


def search_result(
    decision: Decision, tuning: Tuning, dataset: DatasetVersion | RawVersion
) -> Retraining:
    """Return the record of a retraining after its search; raises NoTrialSucceededError."""
    best = tuning.best
    return Retraining(
        decision=decision,
        trials=tuning.counts,
        not_begun=tuning.not_begun,
        best=BestTrial(
            key=best.key, config=best.config, scores=best.scores, weights=best.weights_digest
        ),
        dataset=DatasetName(name=dataset.name, digest=dataset.digest),
        leaderboard=tuning.leaderboard,
        baselines=tuning.baselines,
        optimism=tuning.comparison.optimism,
        distinction=tuning.comparison.distinction,
    )
