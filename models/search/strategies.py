"""The strategy that `search:` names."""

from itertools import repeat

from models.config import Params
from models.config.search import SearchParams
from models.config.trial import Objective
from models.search.asha import halving_epochs, halving_ladder
from models.search.grid_search import grid
from models.search.hyperband import bracket_turns, brackets, hyperband_epochs
from models.search.median_stopping import median_epochs, median_ladder
from models.search.optuna_samplers import Sampled
from models.search.pruned_search import Climbing
from models.search.random_search import drawn
from models.search.rungs import rung_budgets
from models.search.strategy import Fixed, Proposer, Straight, Strategy


def strategy_of(params: Params) -> Strategy:
    """Make the strategy of a search, as it is before anything was asked.

    Raises ConfigError where a combination is impossible.
    """
    return pruned(proposer_of(params), params.search, by=params.trial.objective)


def proposer_of(params: Params) -> Proposer:
    """Make what proposes the trials of a search. Raises ConfigError as above."""
    match params.search.strategy:
        case "grid":
            return Fixed(grid(params))
        case "random":
            return Fixed(tuple(drawn(params)))
        case "tpe" | "gp":
            return Sampled(params)


def pruned(proposer: Proposer, search: SearchParams, *, by: Objective) -> Strategy:
    """Make the strategy that stops trials as the search says."""
    match search.pruner:
        case "none":
            return Straight(proposer, epochs=search.epochs)
        case "asha":
            return Climbing(proposer, [halving_ladder(search)], repeat(0), by=by)
        case "median":
            return Climbing(proposer, [median_ladder(search)], repeat(0), by=by)
        case "hyperband":
            return Climbing(proposer, brackets(search), bracket_turns(search), by=by)


def first_budget(search: SearchParams) -> int:
    """Epochs after which every trial is scored first."""
    return search.epochs if search.pruner == "none" else rung_budgets(search)[0]


def planned_epochs(params: Params, trials: int) -> int:
    """Epochs that so many trials are expected to take all together, within the search's budget."""
    epochs = _expected_epochs(params.search, trials)
    return min(epochs, params.search.max_epochs_total or epochs)


def _expected_epochs(search: SearchParams, trials: int) -> int:
    match search.pruner:
        case "none":
            return trials * search.epochs
        case "asha":
            return halving_epochs(search, trials)
        case "median":
            return median_epochs(search, trials)
        case "hyperband":
            return hyperband_epochs(search, trials)
