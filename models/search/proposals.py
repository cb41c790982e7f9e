"""Proposals: points in a search space, each with the TrialConfig it stands for."""

import functools
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

from pydantic import JsonValue, ValidationError

from models.config import Params, Point, TrialConfig, apply_point
from models.config.space import applicable
from models.errors import ConfigError
from models.record import rule_of


@dataclass(frozen=True, slots=True)
class Proposal:
    """A trial that a search proposes, and how it is labelled among the others."""

    config: TrialConfig
    point: Point
    """Axis -> value."""
    names: Mapping[str, str] = field(default_factory=dict)
    """Axis -> short name, the same in all trials of a search; an axis not listed is shown whole."""

    @property
    def label(self) -> str:
        """Values on the axes, in one line: `lr=0.003 minibatch=32`."""
        return label_of(self.differences)

    @property
    def differences(self) -> dict[str, str]:
        """Short name of each axis -> value as text."""
        return {self.names.get(axis, axis): _text(value) for axis, value in self.point.items()}


def label_of(differences: Mapping[str, str]) -> str:
    """Return a trial's label: what distinguishes it from the other trials, in one line.

    MLflow's and Prefect's lists cut names at 20 to 50 characters, so common axes are abbreviated.
    """
    pairs = [f"{_abbreviated(axis)}={value}" for axis, value in differences.items()]
    return " ".join(pairs) or "the only trial"


def make_proposal(params: Params, point: Mapping[str, JsonValue]) -> Proposal:
    """Return the trial at a point; axes that the kinds chosen there do not have are left out.

    Raises ConfigError if the combination is impossible.
    """
    point = applicable(params.trial, point)
    try:
        config = apply_point(params.trial, point).for_epochs(params.search.epochs)
        config.network.check_fits(params.data.image_size)
        config.augmentation.check_fits(params.data.image_size)
    except ValueError as error:
        raise ConfigError(
            f"search.axes: no trial can have {_listed(point)}: {_broken_rule(error)}; "
            "drop one of these values, or change what `trial` has beside them"
        ) from None
    names = _short_names(tuple(params.search.axes))
    return Proposal(config=config, point=MappingProxyType(dict(point)), names=names)


@functools.cache  # 100,000 trials share one
def _short_names(axes: tuple[str, ...]) -> Mapping[str, str]:
    return MappingProxyType(short_names(axes))


def _listed(point: Point) -> str:
    return " and ".join(f"{axis}: {json.dumps(value)}" for axis, value in point.items())


def _broken_rule(error: ValueError) -> str:
    """Return the rule that a combination breaks; a rule on one field's value with that field."""
    if not isinstance(error, ValidationError):
        return str(error)
    fault = error.errors()[0]
    of_field = fault["type"] != "value_error"
    return (f"{fault['loc'][-1]} {fault['input']!r}: " if of_field else "") + rule_of(fault)


def _abbreviated(axis: str) -> str:
    path, dot, name = axis.rpartition(".")
    return f"{path}{dot}{_ABBREVIATIONS.get(name, name)}"


_ABBREVIATIONS = {
    "learning_rate": "lr",
    "minibatch_size": "minibatch",
    "hidden_units": "hidden",
    "hidden_layers": "layers",
}


def short_names(axes: Iterable[str]) -> dict[str, str]:
    """Axis -> its last part; the whole axis where two would have the same last part."""
    last = {axis: axis.rpartition(".")[2] for axis in axes}
    names = list(last.values())
    return {
        axis: axis if names.count(name) > 1 or name == "name" else name
        for axis, name in last.items()
    }


def _text(value: JsonValue) -> str:
    return "-".join(map(str, value)) if isinstance(value, list) else str(value)
