"""What a search proposes: a point on its axes, and the TrialConfig that it makes."""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from pydantic import JsonValue

from models.config import Params, Point, TrialConfig, apply_point
from models.config.params import check_fits
from models.config.space import applicable
from models.errors import ConfigError


@dataclass(frozen=True, slots=True)
class Proposal:
    """One trial of a search: its config, and what a reader needs to tell it from the others."""

    config: TrialConfig
    point: Point
    """Axis -> value: where it lies in the search's space."""

    @property
    def label(self) -> str:
        """What differs, in a few words: `learning_rate=0.003 minibatch_size=32`."""
        return label_of(self.differences)

    @property
    def differences(self) -> dict[str, str]:
        """Shortest unambiguous axis name -> value as text."""
        return {shown: _text(self.point[axis]) for axis, shown in _short(self.point).items()}


def label_of(differences: Mapping[str, str]) -> str:
    """Name a trial by what tells it from the others, in one line."""
    return " ".join(f"{name}={value}" for name, value in differences.items()) or "the only trial"


def propose(params: Params, point: Mapping[str, JsonValue]) -> Proposal:
    """Make the trial at a point; axes that the kinds chosen there do not have are left out.

    Raises ConfigError where the combination is impossible.
    """
    held = applicable(params.trial, point)
    try:
        config = apply_point(params.trial, held)
        check_fits(config, image_size=params.data.image_size)
    except ValueError as error:
        raise ConfigError(f"search.axes: no trial can be made of {dict(held)}: {error}") from None
    return Proposal(config=config, point=MappingProxyType(dict(held)))


def _short(point: Point) -> dict[str, str]:
    last = {axis: axis.rpartition(".")[2] for axis in point}
    names = list(last.values())
    return {
        axis: axis if names.count(name) > 1 or name == "name" else name
        for axis, name in last.items()
    }


def _text(value: JsonValue) -> str:
    return "-".join(map(str, value)) if isinstance(value, list) else str(value)
