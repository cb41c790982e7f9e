"""What a search proposes: a point on its axes, and the TrialConfig that it makes."""

import functools
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

from pydantic import JsonValue, ValidationError

from models.config import Params, Point, TrialConfig, apply_point
from models.config.faults import rule_of
from models.config.space import applicable
from models.errors import ConfigError


@dataclass(frozen=True, slots=True)
class Proposal:
    """One trial of a search: its config, and what a reader needs to tell it from the others."""

    config: TrialConfig
    point: Point
    """Axis -> value: where it lies in the search's space."""
    names: Mapping[str, str] = field(default_factory=dict)
    """Axis -> as it is shown, the same in all trials of a search; whole where it is not here."""

    @property
    def label(self) -> str:
        """What differs, in a few words: `lr=0.003 minibatch=32`."""
        return label_of(self.differences)

    @property
    def differences(self) -> dict[str, str]:
        """Axis name as shown -> value as text."""
        return {self.names.get(axis, axis): _text(value) for axis, value in self.point.items()}


def label_of(differences: Mapping[str, str]) -> str:
    """Name a trial by what tells it from the others, in one line.

    MLflow's and Prefect's lists cut names at 20 to 50 characters, so common axes are shortened.
    """
    pairs = [f"{_shortened(axis)}={value}" for axis, value in differences.items()]
    return " ".join(pairs) or "the only trial"


def propose(params: Params, point: Mapping[str, JsonValue]) -> Proposal:
    """Make the trial at a point; axes that the kinds chosen there do not have are left out.

    Raises ConfigError where the combination is impossible.
    """
    held = applicable(params.trial, point)
    try:
        config = apply_point(params.trial, held)
        config.network.check_fits(params.data.image_size)
    except ValueError as error:
        raise ConfigError(
            f"search.axes: no trial can have {_all_of(held)}: {_broken(error)}; drop one of these "
            "values, or change what `trial` has beside them"
        ) from None
    point = MappingProxyType(dict(held))
    return Proposal(config=config, point=point, names=_names(tuple(params.search.axes)))


@functools.cache  # 100,000 trials share one
def _names(axes: tuple[str, ...]) -> Mapping[str, str]:
    return MappingProxyType(short_names(axes))


def _all_of(point: Point) -> str:
    return " and ".join(f"{axis}: {json.dumps(value)}" for axis, value in point.items())


def _broken(error: ValueError) -> str:
    """Say the rule that a combination breaks; that of a field's own value with the field."""
    if not isinstance(error, ValidationError):
        return str(error)
    fault = error.errors()[0]
    own = fault["type"] != "value_error"
    return (f"{fault['loc'][-1]} {fault['input']!r}: " if own else "") + rule_of(fault)


def _shortened(axis: str) -> str:
    path, dot, name = axis.rpartition(".")
    return f"{path}{dot}{_SHORTENED.get(name, name)}"


_SHORTENED = {
    "learning_rate": "lr",
    "minibatch_size": "minibatch",
    "hidden_units": "hidden",
    "hidden_layers": "layers",
}


def short_names(axes: Iterable[str]) -> dict[str, str]:
    """Axis -> its last part, or the whole of it where that would be another's too."""
    last = {axis: axis.rpartition(".")[2] for axis in axes}
    names = list(last.values())
    return {
        axis: axis if names.count(name) > 1 or name == "name" else name
        for axis, name in last.items()
    }


def _text(value: JsonValue) -> str:
    return "-".join(map(str, value)) if isinstance(value, list) else str(value)
