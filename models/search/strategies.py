"""Search strategies, and the one that `search:` names."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import repeat

from models.config import Params
from models.config.search import Pruner, SearchParams
from models.config.trial import Objective
from models.search.asha import halving_bracket, halving_epochs
from models.search.hyperband import bracket_sequence, hyperband_brackets, hyperband_epochs
from models.search.median_stopping import median_bracket, median_epochs
from models.search.optuna_samplers import OptunaProposer
from models.search.proposals import Proposal
from models.search.rungs import Bracket
from models.search.search_space import search_space
from models.search.strategy import FixedProposer, Job, Proposer, Strategy
from models.trials import Scores


class FullBudgetSearch:
    """Strategy without a pruner: trains every trial to the full budget."""

    def __init__(self, proposer: Proposer, *, epochs: int) -> None:
        self._proposer, self._epochs = proposer, epochs
        self._asked = 0

    def ask(self) -> Job | None:
        proposal = self._proposer.propose()
        if proposal is None:
            return None
        job = Job(number=self._asked, proposal=proposal, budget=self._epochs)
        self._asked += 1
        return job

    def tell(self, job: Job, scores: Scores | None, averages: Scores | None = None) -> None:
        del averages  # nothing is stopped
        self._proposer.learn(job.number, scores, budget=job.budget)


class PrunedSearch:
    """Strategy with a pruner: trials advance from rung to rung, asynchronously.

    A pure function of what was asked and told, in order.
    """

    def __init__(
        self,
        proposer: Proposer,
        brackets: Sequence[Bracket],
        sequence: Iterator[int],
        *,
        by: Objective,
    ) -> None:
        """sequence: the bracket of trial 0, 1, ...; without end."""
        self._proposer, self._brackets, self._sequence = proposer, brackets, sequence
        self._next_bracket = brackets[next(sequence)]
        self._by = by
        self._trials: list[tuple[Proposal, Bracket]] = []
        self._pending = 0

    def ask(self) -> Job | None:
        """Advance a trial if one may, else start one.

        If no trial is left and every outcome was told, the best trial advances until one has the
        full budget: a small search never stops all of its trials.
        """
        for bracket in self._brackets:
            if advanced := bracket.advance():
                return self._job(*advanced)
        proposal = self._proposer.propose(least=self._next_bracket.least)
        if proposal is not None:
            self._trials.append((proposal, self._next_bracket))
            self._next_bracket = self._brackets[next(self._sequence)]
            return self._job(len(self._trials) - 1, 0)
        return None if self._pending else self._advance_best()

    def tell(self, job: Job, scores: Scores | None, averages: Scores | None = None) -> None:
        """Rank the trial at its rung; the proposer learns the scores of every rung."""
        assert job.rung is not None
        self._pending -= 1
        _, bracket = self._trials[job.number]
        badness = scores.badness(self._by) if scores else None
        average = averages.badness(self._by)[0] if averages else None
        bracket.rungs[job.rung].add(job.number, badness, average)
        self._proposer.learn(job.number, scores, budget=job.budget)

    def _advance_best(self) -> Job | None:
        if any(bracket.complete for bracket in self._brackets):
            return None
        candidates = (bracket.advance_best() for bracket in self._brackets)
        return next((self._job(*advanced) for advanced in candidates if advanced), None)

    def _job(self, number: int, level: int) -> Job:
        self._pending += 1
        proposal, bracket = self._trials[number]
        budget = bracket.rungs[level].budget
        return Job(number=number, proposal=proposal, budget=budget, rung=level)


def proposer_of(params: Params) -> Proposer:
    """Return a new proposer of a search's trials. Raises ConfigError as `search_space`."""
    match params.search.strategy:
        case "grid" | "random":
            return FixedProposer(search_space(params))
        case "tpe" | "gp":
            return OptunaProposer(params, search_space(params))


def strategy_of(params: Params) -> Strategy:
    """Return a new strategy of a search. Raises ConfigError as `search_space`."""
    return pruned_strategy(proposer_of(params), params.search, by=params.trial.objective)


@dataclass(frozen=True, slots=True)
class PrunerKind:
    """How a pruner stops trials, and what that saves."""

    brackets: Callable[[SearchParams], Sequence[Bracket]]
    epochs: Callable[[SearchParams, int], int]
    """Epochs that a number of trials are expected to take in total."""
    sequence: Callable[[SearchParams], Iterator[int]] = lambda _: repeat(0)
    """Bracket of trial 0, 1, ..."""


PRUNERS: dict[Pruner, PrunerKind] = {
    # `search.pruner` chooses one; docs/extending.md adds one.
    "asha": PrunerKind(lambda search: [halving_bracket(search)], halving_epochs),
    "median": PrunerKind(lambda search: [median_bracket(search)], median_epochs),
    "hyperband": PrunerKind(hyperband_brackets, hyperband_epochs, bracket_sequence),
}


def pruned_strategy(proposer: Proposer, search: SearchParams, *, by: Objective) -> Strategy:
    """Return a new strategy that stops a proposer's trials with `search.pruner`."""
    if search.pruner == "none":
        return FullBudgetSearch(proposer, epochs=search.epochs)
    kind = PRUNERS[search.pruner]
    return PrunedSearch(proposer, kind.brackets(search), kind.sequence(search), by=by)


def expected_epochs(search: SearchParams, trials: int) -> int:
    """Epochs that this many trials are expected to take in total, within max_epochs_total."""
    if search.pruner == "none":
        epochs = trials * search.epochs
    else:
        epochs = PRUNERS[search.pruner].epochs(search, trials)
    return min(epochs, search.max_epochs_total or epochs)
