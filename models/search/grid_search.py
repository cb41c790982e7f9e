"""Grid search (the article's section on tuning): every combination of the axes' values, once."""

import itertools
import math
from collections.abc import Iterator, Mapping, Sequence

from pydantic import JsonValue

from models.config import Params, Point
from models.digests import digest_of
from models.errors import ConfigError
from models.search.proposals import Proposal, propose

MOST_TRIALS = 100_000


def grid(params: Params) -> tuple[Proposal, ...]:
    """Enumerate the grid in the order of the axes; the last axis moves fastest.

    An axis that the kind chosen at a point does not have (a momentum for Adam) is left out there,
    and points that thereby fall together are one trial. Raises ConfigError where a combination is
    impossible or the grid has more than 100,000 trials.
    """
    axes = params.search.extremes
    _refuse_too_many(axes)
    proposals: dict[str, Proposal] = {}
    for point in _points(axes):
        proposal = propose(params, point)
        proposals.setdefault(digest_of(proposal.config), proposal)
    return tuple(proposals.values())


def _points(axes: Mapping[str, Sequence[JsonValue]]) -> Iterator[Point]:
    for values in itertools.product(*axes.values()):
        yield dict(zip(axes, values, strict=True))


def _refuse_too_many(axes: Mapping[str, Sequence[JsonValue]]) -> None:
    count = math.prod(len(values) for values in axes.values())
    if count > MOST_TRIALS:
        raise ConfigError(
            f"search.axes: {count:,} combinations; a grid may have {MOST_TRIALS:,}: drop values"
        )
