"""Grid search (the article's section on tuning): every combination of the axes' values, once."""

import itertools
import math
from collections.abc import Mapping, Sequence

from pydantic import JsonValue

from models.config import Params
from models.digests import digest_of
from models.errors import ConfigError
from models.search.proposals import Proposal, make_proposal

MAX_TRIALS = 100_000


def grid_proposals(params: Params) -> tuple[Proposal, ...]:
    """Enumerate the grid in the order of the axes; the last axis varies fastest.

    An axis that the kind chosen at a point does not have (a momentum for Adam) is left out there,
    and points that become equal are one trial. Raises ConfigError if a combination is impossible
    or the grid has more than 100,000 points.
    """
    axes = params.search.extremes
    _check_size(axes)
    proposals: dict[str, Proposal] = {}
    for values in itertools.product(*axes.values()):
        proposal = make_proposal(params, dict(zip(axes, values, strict=True)))
        proposals.setdefault(digest_of(proposal.config), proposal)
    return tuple(proposals.values())


def _check_size(axes: Mapping[str, Sequence[JsonValue]]) -> None:
    count = math.prod(len(values) for values in axes.values())
    if count > MAX_TRIALS:
        raise ConfigError(
            f"search.axes: {count:,} combinations; a grid may have {MAX_TRIALS:,}: drop values"
        )
