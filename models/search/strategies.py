"""The strategy that `search:` names."""

from models.config import Params
from models.search.asha import Asha, expected_epochs
from models.search.fixed import fixed_proposals
from models.search.strategy import Fixed, Proposer, Straight, Strategy


def strategy_of(params: Params) -> Strategy:
    """Make the strategy of a search, as it is before anything was asked.

    Raises ConfigError where a combination is impossible.
    """
    search = params.search
    proposer = _proposer(params)
    if search.pruner == "asha":
        return Asha(proposer, search, by=params.trial.objective)
    return Straight(proposer, epochs=search.epochs)


def _proposer(params: Params) -> Proposer:
    return Fixed(fixed_proposals(params))


def planned_epochs(params: Params, trials: int) -> int:
    """Epochs that so many trials are expected to take all together."""
    if params.search.pruner == "asha":
        return expected_epochs(params.search, trials)
    return trials * params.search.epochs
