"""Records of a search: its trials, a preview from the trial store, and its result."""

import itertools
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace

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
from models.search.confirmation import Confirmed, confirmed, rank_confirmed
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
    confirming: tuple[SearchTrial, ...] = ()
    """Trials of the confirmation."""
    confirmation: tuple[Confirmed, ...] = ()
    """Best first; empty unless `search.confirm`."""

    @property
    def outcomes(self) -> tuple[Outcome, ...]:
        """Outcome of each trial."""
        return tuple(trial.outcome for trial in self.trials if trial.outcome is not None)

    @property
    def best(self) -> TrialResult:
        """The selected trial; raises NoTrialSucceededError."""
        ranked = next(self.ranked(), None)
        return ranked[1] if ranked else select_best(self.outcomes, self.objective)

    @property
    def counts(self) -> TrialCounts:
        """Number of trials in each state, those of the confirmation included."""
        trials = (*self.trials, *self.confirming)
        states = Counter(trial.state for trial in trials)
        return TrialCounts(total=len(trials), **states)

    def ranked(self) -> Iterator[tuple[SearchTrial, TrialResult]]:
        """Successful trials with their results, best first: confirmed ones before the others."""
        trials = {trial.key: trial for trial in self.trials}
        results = {result.key: result for result in rank(self.outcomes, self.objective)}
        for key in dict.fromkeys((*(one.key for one in self.confirmation), *results)):
            yield trials[key], results[key]

    def candidates(self, top: int) -> tuple[SearchTrial, ...]:
        """The best trials that were not stopped early, to be confirmed."""
        whole = (trial for trial, _ in self.ranked() if not trial.pruned)
        return tuple(itertools.islice(whole, top))

    def confirmed_by(self, trials: tuple[SearchTrial, ...], *, top: int) -> "Tuning":
        """Return the result after a confirmation of the best by these trials."""
        found = [
            confirmed(
                candidate.key,
                candidate.proposal.differences,
                [
                    trial.outcome
                    for trial in trials
                    if trial.outcome is not None and _is_same_but_seed(trial, candidate)
                ],
            )
            for candidate in self.candidates(top)
        ]
        ranked = rank_confirmed(found, self.objective)
        return replace(self, confirming=trials, confirmation=ranked)

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

    @property
    def metrics(self) -> dict[str, float]:
        """Numbers for MLflow's parent run: the comparison, and the selected one's confirmation."""
        found = self.comparison.metrics
        for one in self.confirmation[:1]:
            found["confirm/seeds"] = one.seeds
            for kind, scores in (("mean", one.mean), ("sd", one.deviation)):
                known = scores.model_dump() if scores is not None else {}
                found |= {f"confirm/{name}_{kind}": value for name, value in known.items()}
        return found

    def failures(self) -> Iterator[tuple[SearchTrial, TrialFailure]]:
        """Failed trials, in order of proposal."""
        for trial in self.trials:
            if isinstance(trial.outcome, TrialFailure):
                yield trial, trial.outcome


def _is_same_but_seed(one: SearchTrial, other: SearchTrial) -> bool:
    seed = {"seed": other.proposal.config.seed}
    return one.proposal.config.model_copy(update=seed) == other.proposal.config


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
        confirmation=tuning.confirmation,
    )
