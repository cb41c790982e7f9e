"""Grid search (the article's section on tuning): every combination of the axes' values, once."""

import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

from pydantic import JsonValue

from models.config import Params, Point, TrialConfig, apply_point
from models.config.params import check_fits
from models.config.space import applicable
from models.digests import digest_of
from models.errors import ConfigError

MOST_TRIALS = 100_000


@dataclass(frozen=True, slots=True)
class Proposal:
    """One trial of a search: its config, and what a reader needs to tell it from the others."""

    config: TrialConfig
    point: Point
    """Axis -> value: where it lies in the grid."""

    @property
    def label(self) -> str:
        """What differs, in a few words: `learning_rate=0.003 minibatch_size=32`."""
        return " ".join(f"{name}={value}" for name, value in self.differences.items()) or "default"

    @property
    def differences(self) -> dict[str, str]:
        """Shortest unambiguous axis name -> value as text."""
        return {shown: _text(self.point[axis]) for axis, shown in _short(self.point).items()}


def grid(params: Params) -> tuple[Proposal, ...]:
    """Enumerate the grid in the order of the axes; the last axis moves fastest.

    An axis that the kind chosen at a point does not have (a momentum for Adam) is left out there,
    and points that thereby fall together are one trial. Raises ConfigError where a combination is
    impossible or the grid has more than 100,000 trials.
    """
    axes = params.search.axes
    _refuse_too_many(axes)
    proposals: dict[str, Proposal] = {}
    for point in _points(axes):
        proposal = _propose(params, applicable(params.trial, point))
        proposals.setdefault(digest_of(proposal.config), proposal)
    return tuple(proposals.values())


def _points(axes: Mapping[str, Sequence[JsonValue]]) -> Iterator[Point]:
    for values in itertools.product(*axes.values()):
        yield dict(zip(axes, values, strict=True))


def _propose(params: Params, point: Point) -> Proposal:
    try:
        config = apply_point(params.trial, point)
        check_fits(config, image_size=params.data.image_size)
    except ValueError as error:
        raise ConfigError(f"search.axes: no trial can be made of {dict(point)}: {error}") from None
    return Proposal(config=config, point=MappingProxyType(dict(point)))


def _refuse_too_many(axes: Mapping[str, Sequence[JsonValue]]) -> None:
    count = 1
    for values in axes.values():
        count *= len(values)
    if count > MOST_TRIALS:
        raise ConfigError(
            f"search.axes: {count:,} combinations; a grid may have {MOST_TRIALS:,}: drop values"
        )


def _short(point: Point) -> dict[str, str]:
    last = {axis: axis.rpartition(".")[2] for axis in point}
    names = list(last.values())
    return {
        axis: axis if names.count(name) > 1 or name == "name" else name
        for axis, name in last.items()
    }


def _text(value: JsonValue) -> str:
    return "-".join(map(str, value)) if isinstance(value, list) else str(value)
