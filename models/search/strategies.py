"""The strategy that `search:` names."""

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
from models.search.pruned_search import PrunedSearch
from models.search.rungs import Bracket
from models.search.search_space import search_space
from models.search.strategy import FixedProposer, FullBudgetSearch, Proposer, Strategy

LIMITS = {"max_epochs_total", "max_seconds"}
"""Fields of `search:` that say when it ends, and decide nothing until then."""


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
