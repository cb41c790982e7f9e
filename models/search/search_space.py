"""The search space: every point of a grid, or points drawn uniformly at random.

Grid search is that of the article's section on tuning, random search that of Bergstra & Bengio
(2012).
"""

import functools
import hashlib
import itertools
import json
import math
from collections.abc import Iterator

from pydantic import JsonValue

from models.config import Params, Point, TrialConfig
from models.config.search import Range
from models.config.space import applicable, count_points
from models.digests import digest_of
from models.errors import ConfigError
from models.search.proposals import Proposal, make_proposal

_MAX_GRID = 100_000
DRAWS_PER_TRIAL = 50
"""Draws for each trial asked for, after which the search is as large as it gets: a range may hold
fewer values than that. All of 1,000 points are found in about 7.5 draws each. Of listed values the
number of points is known, and drawing ends when all were drawn."""


def search_space(params: Params) -> tuple[Proposal, ...]:
    """Return a search's trials; with tpe and gp as many uniform draws as it has trials.

    Raises ConfigError if a combination is impossible.
    """
    return _search_space(params.model_dump_json(include={"data", "trial", "search"}))


# A run needs the space before it begins, to preview the search and to run it; 100,000 points take
# 14 s each time. Params hold dicts and cannot be hashed, so their JSON is the cache's key.
@functools.lru_cache(maxsize=1)
def _search_space(params_json: str) -> tuple[Proposal, ...]:
    params = Params.model_validate_json(params_json)
    proposals = _grid if params.search.strategy == "grid" else random_proposals
    return tuple(proposals(params))


def _grid(params: Params) -> Iterator[Proposal]:
    """Enumerate the grid in the order of the axes; the last axis varies fastest.

    An axis that the kind chosen at a point does not have (a momentum for Adam) is left out there,
    and points that become equal are one trial. Raises ConfigError if a combination is impossible
    or the grid has more than 100,000 points.
    """
    axes = params.search.extremes
    size = math.prod(len(values) for values in axes.values())
    if size > _MAX_GRID:
        raise ConfigError(
            f"search.axes: {size:,} combinations; a grid may have {_MAX_GRID:,}: drop values"
        )
    configs: set[str] = set()
    for values in itertools.product(*axes.values()):
        proposal = make_proposal(params, dict(zip(axes, values, strict=True)))
        if _is_new(proposal.config, configs):
            yield proposal


def random_proposals(params: Params) -> Iterator[Proposal]:
    """Draw search.trials different trials, fewer if the axes hold fewer.

    The n-th draw depends on search.seed, n and the axis alone: neither on other axes nor on the
    number of trials asked for, so that the first 25 of 50 trials are those of a search of 25.
    Raises ConfigError if a combination is impossible.
    """
    possible = _count(params)
    points: set[str] = set()
    configs: set[str] = set()
    for index in range(DRAWS_PER_TRIAL * params.search.trials):
        point = applicable(params.trial, draw_point(params, index))
        if not _is_new(dict(point), points):
            continue
        proposal = make_proposal(params, point)
        if _is_new(proposal.config, configs):
            yield proposal
        if len(configs) == params.search.trials or len(points) == possible:
            return


def _count(params: Params) -> float:
    """Return the number of different points that can be drawn; infinite with a range."""
    axes = params.search.axes
    listed = {axis: values for axis, values in axes.items() if not isinstance(values, Range)}
    return count_points(params.trial, listed) if len(listed) == len(axes) else math.inf


def _is_new(value: JsonValue | TrialConfig, seen: set[str]) -> bool:
    """Add the value's digest to those seen; return whether it was not among them."""
    digest = digest_of(value)
    new = digest not in seen
    seen.add(digest)
    return new


def draw_point(params: Params, index: int) -> Point:
    """Return the point of the index-th draw."""
    point: dict[str, JsonValue] = {}
    for axis, values in params.search.axes.items():
        fraction = uniform(params.search.seed, index, axis)
        if isinstance(values, Range):
            point[axis] = values.at(fraction)
        else:
            point[axis] = values[int(fraction * len(values))]
    return point


def uniform(seed: int, index: int, name: str) -> float:
    """Uniform in [0, 1), from a hash: independent of Python's, numpy's and torch's generators."""
    text = json.dumps([seed, index, name])
    return (int.from_bytes(hashlib.sha256(text.encode()).digest()[:7]) >> 3) / 2**53
