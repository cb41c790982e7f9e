"""Searches whose trials are known before the first is run."""

from models.config import Params
from models.search.drawing import drawn
from models.search.grid import grid
from models.search.proposals import Proposal


def fixed_proposals(params: Params) -> tuple[Proposal, ...]:
    """All trials of a grid or a random search, in the order they are begun.

    Raises ConfigError where a combination is impossible.
    """
    return grid(params) if params.search.strategy == "grid" else tuple(drawn(params))
