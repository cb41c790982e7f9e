"""The strategy that `search:` names."""

from itertools import repeat

from models.config import Params
from models.config.search import SearchParams
from models.config.trial import Objective
from models.search.asha import halving_bracket, halving_epochs
from models.search.hyperband import bracket_sequence, hyperband_brackets, hyperband_epochs
from models.search.median_stopping import median_bracket, median_epochs
from models.search.optuna_samplers import OptunaProposer
from models.search.pruned_search import PrunedSearch
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


def pruned_strategy(proposer: Proposer, search: SearchParams, *, by: Objective) -> Strategy:
    """Return a new strategy that stops a proposer's trials with `search.pruner`."""
    match search.pruner:
        case "none":
            return FullBudgetSearch(proposer, epochs=search.epochs)
        case "asha":
            return PrunedSearch(proposer, [halving_bracket(search)], repeat(0), by=by)
        case "median":
            return PrunedSearch(proposer, [median_bracket(search)], repeat(0), by=by)
        case "hyperband":
            return PrunedSearch(
                proposer, hyperband_brackets(search), bracket_sequence(search), by=by
            )


def expected_epochs(search: SearchParams, trials: int) -> int:
    """Epochs that this many trials are expected to take in total, within max_epochs_total."""
    epochs = _unlimited_epochs(search, trials)
    return min(epochs, search.max_epochs_total or epochs)


def _unlimited_epochs(search: SearchParams, trials: int) -> int:
    match search.pruner:
        case "none":
            return trials * search.epochs
        case "asha":
            return halving_epochs(search, trials)
        case "median":
            return median_epochs(search, trials)
        case "hyperband":
            return hyperband_epochs(search, trials)
