"""Random search (Bergstra & Bengio, 2012): points drawn evenly, each a function of (seed, n)."""

import hashlib
import json
import math
from collections.abc import Iterator

from pydantic import JsonValue

from models.config import Params, Point, TrialConfig
from models.config.search import Range
from models.config.space import applicable, count_points
from models.digests import digest_of
from models.search.proposals import Proposal, propose

DRAWS_A_TRIAL = 50
"""A range with fewer values than trials were asked for is given up after so many draws for each:
1,000 points are all found in about 7.5 draws each. Of listed values we know when all were drawn."""


def drawn(params: Params) -> Iterator[Proposal]:
    """Draw search.trials different trials, fewer where the axes hold fewer.

    The n-th draw depends on search.seed, n and the axis alone: neither on other axes, nor on how
    many trials are asked for, so that fifty are 25 and 25 more. Raises ConfigError where a
    combination is impossible.
    """
    possible = _count(params)
    points: set[str] = set()
    configs: set[str] = set()
    for index in range(DRAWS_A_TRIAL * params.search.trials):
        point = applicable(params.trial, draw(params, index))
        if _seen(points, dict(point)):
            continue
        proposal = propose(params, point)
        if not _seen(configs, proposal.config):
            yield proposal
        if len(configs) == params.search.trials or len(points) == possible:
            return


def _count(params: Params) -> float:
    """How many different points can be drawn."""
    axes = params.search.axes
    listed = {axis: values for axis, values in axes.items() if not isinstance(values, Range)}
    return count_points(params.trial, listed) if len(listed) == len(axes) else math.inf


def _seen(digests: set[str], value: JsonValue | TrialConfig) -> bool:
    """Whether the value was there before; it is from now on."""
    digest = digest_of(value)
    known = digest in digests
    digests.add(digest)
    return known


def draw(params: Params, index: int) -> Point:
    """Return the point of the index-th draw."""
    point: dict[str, JsonValue] = {}
    for axis, values in params.search.axes.items():
        fraction = _fraction(params.search.seed, index, axis)
        if isinstance(values, Range):
            point[axis] = values.at(fraction)
        else:
            point[axis] = values[int(fraction * len(values))]
    return point


def _fraction(seed: int, index: int, axis: str) -> float:
    """Uniform in [0, 1), from a hash: independent of Python's, numpy's and torch's generators."""
    text = json.dumps([seed, index, axis])
    return (int.from_bytes(hashlib.sha256(text.encode()).digest()[:7]) >> 3) / 2**53
