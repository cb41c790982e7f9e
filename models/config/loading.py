"""Loading of Params from params.yaml and `--set`, with all faults in one message."""

import difflib
import functools
import json
import logging
import typing
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from models.config.params import Params
from models.config.space import (
    apply_point,
    axis_points,
    fields_of,
    kinds_of,
    models_in,
    of_kind,
    partial_axes,
)
from models.config.trial import TrialConfig
from models.config.yaml_reader import parse_yaml, read_yaml
from models.errors import ConfigError
from models.files import PARAMS
from models.record import rule_of

log = logging.getLogger(__name__)

Tree = dict[str, object]
"""YAML as read, not validated yet."""


MAX_PARTS = 16
"""Of a dotted path; those of params have at most three, and an axis is one part."""
_SHOWN_FAULTS, _SHOWN_CHARACTERS = 20, 200


def load_params(path: Path = PARAMS, overrides: Sequence[str] = ()) -> Params:
    """Read a params file, apply `K=V` overrides, and validate the whole.

    Raises ConfigError with every fault found: path in the file, value, what is allowed.
    """
    tree = read_yaml(path)
    if not isinstance(tree, dict | None):
        raise ConfigError(
            f"{path}: holds {_shown(tree)}, not a mapping of sections such as `data:`"
        )
    if tree is None:
        _warn_of_defaults(str(path))
    keys = tuple(override.partition("=")[0].strip() for override in overrides)
    params = _validate(_override(tree or {}, overrides), _Origin(path.name, keys))
    _refuse_ignored(overrides, params)
    horizon, epochs = params.trial.schedule.horizon, params.search.epochs
    if horizon is not None and horizon > epochs and "schedule.horizon" not in params.search.axes:
        _warn_of_horizon(horizon, epochs)
    return params


@functools.cache  # a command reads its params more than once
def _warn_of_defaults(path: str) -> None:
    log.warning("%s is empty: every param has its default (`pitchpipe params`)", path)


@functools.cache
def _warn_of_horizon(horizon: int, epochs: int) -> None:
    log.warning(
        "trial.schedule.horizon %d is above search.epochs %d: training ends before the learning "
        "rate is at its least; leave it out, unless search.epochs is raised to it later",
        *(horizon, epochs),
    )


@dataclass(frozen=True, slots=True)
class _Origin:
    """Where params were written."""

    file: str
    keys: tuple[str, ...]
    """Of the overrides."""

    def of(self, name: str) -> str:
        """Name the origin of the value at a dotted path; of all params where the path is empty.

        The override of it, or of a section around it; else the file, with the overrides of what is
        inside.
        """
        around = [key for key in self.keys if f"{name}.".startswith(f"{key}.")]
        if around:
            return f"--set {name}" if around[-1] == name else f"--set {around[-1]}: {name}"
        inside = (key for key in self.keys if not name or key.startswith(f"{name}."))
        return " ".join([self.file, *(f"with --set {key}" for key in inside)]) + (
            f": {name or 'params'}"
        )


def _refuse_ignored(overrides: Sequence[str], params: Params) -> None:
    """Refuse an override of a param that an axis varies, which would have no effect."""
    for override in overrides:
        key = override.partition("=")[0].strip()
        axis = key.removeprefix("trial.")
        if key != axis and axis in params.search.axes:
            raise ConfigError(
                f"--set {override}: the axis search.axes.{axis} varies it, so that this changes "
                f"nothing; set the axis, such as --set 'search.axes.{axis}=[VALUE]'"
            )


def _override(tree: Tree, overrides: Sequence[str]) -> Tree:
    given: set[str] = set()
    for override in overrides:
        key, separator, text = override.partition("=")
        if not separator or not key.strip():
            raise ConfigError(f"--set {override!r}: write KEY=VALUE, such as search.epochs=3")
        path, value = _dotted(key.strip()), parse_yaml(text, where=f"--set {key}")
        if path[0] == "trial" and path[2:] == ["name"]:
            tree = _with_kind(tree, path[1], value, given=given)
        tree = _with(tree, path, value)
        given.add(key.strip())
    return tree


def _with_kind(tree: Tree, section: str, kind: object, *, given: Collection[str]) -> Tree:
    """Drop the file's fields of another kind, as an axis of kinds does; keep those of `given`."""
    trial = tree.get("trial")
    node = trial.get(section) if isinstance(trial, dict) else None
    where = f"trial.{section}"
    if not isinstance(node, dict) or where in given or node.get("name") == kind:
        return tree
    meant = {name: value for name, value in node.items() if f"{where}.{name}" in given}
    return _with(tree, ["trial", section], of_kind(section, kind, node) | meant)


def _dotted(key: str) -> list[str]:
    """Split at dots; what follows `search.axes.` is one key, since names of axes contain dots."""
    axes = "search.axes."
    if key.startswith(axes):
        return ["search", "axes", key[len(axes) :]]
    parts = key.split(".")
    if len(parts) > MAX_PARTS:
        raise ConfigError(f"--set {key[:40]}...: has {len(parts):,} parts; at most {MAX_PARTS}")
    return parts


def _with(tree: object, keys: Sequence[str], value: object) -> Tree:
    inner = dict(tree) if isinstance(tree, dict) else {}
    head, *rest = keys
    inner[head] = _with(inner.get(head), rest, value) if rest else value
    return inner


def _validate(tree: Tree, origin: _Origin) -> Params:
    try:
        # JSON mode: lists become tuples, but true is no 1 and "32" is no 32.
        params = Params.model_validate_json(json.dumps(_named(tree)))
    except ValidationError as error:
        faults = _told_once(error.errors())
        lines = [*_explain(faults[:_SHOWN_FAULTS], tree, origin)]
        more = [f"and {len(faults) - len(lines)} more"] if len(faults) > len(lines) else []
        raise ConfigError("\n".join(lines + more)) from None
    _validate_axes(params, origin)
    return params


def _named(tree: Tree) -> Tree:
    """`optimizer: {learning_rate: 0.01}` without a name means the default optimiser's."""
    trial = tree.get("trial")
    if not isinstance(trial, dict):
        return tree
    defaults = TrialConfig()
    kinds = ("network", "optimizer", "schedule", "augmentation")
    named = {
        section: {"name": getattr(defaults, section).name} | trial[section]
        for section in kinds
        if isinstance(trial.get(section), dict)
    }
    return {**tree, "trial": trial | named}


def _validate_axes(params: Params, origin: _Origin) -> None:
    """Validate each axis value on its own, and refuse one that no trial could have.

    Rules on several fields (nesterov, which needs momentum) are checked where the search makes its
    combinations, since another axis may provide what this value needs.
    """
    for axis, value, point in axis_points(params.search.extremes):
        where = origin.of(f"search.axes.{axis}")
        try:
            apply_point(params.trial, point)
        except ValidationError as error:
            fault = next(_faults_of_value(error, axis, others=params.search.axes), None)
            if fault:
                raise ConfigError(f"{where}: {value!r}: {rule_of(fault)}") from None
        except ConfigError as error:
            raise ConfigError(f"{where}: {error}") from None
    _refuse_partial(params, origin)


def _faults_of_value(
    error: ValidationError, axis: str, *, others: Iterable[str]
) -> Iterator[ErrorDetails]:
    """Yield the faults that no value of the other axes removes."""
    set_elsewhere = set(others) - {axis}
    for fault in error.errors():
        section, *inner = map(str, fault["loc"] or ("",))
        fields = {section, *(f"{section}.{part}" for part in inner)}
        if fault["type"] != "value_error" and not fields & set_elsewhere:
            yield fault


def _refuse_partial(params: Params, origin: _Origin) -> None:
    partial = next(partial_axes(params.search.extremes), None)
    if params.search.strategy == "gp" and partial is not None:
        where = origin.of(f"search.axes.{partial}")
        raise ConfigError(
            f"{where}: not every kind chosen has it, and strategy: gp needs "
            "the same axes in every trial; choose strategy: tpe, or search over one kind"
        )


def _explain(faults: Sequence[ErrorDetails], tree: Tree, origin: _Origin) -> Iterator[str]:
    for fault in faults:
        path = _path(fault, tree)
        where = origin.of(".".join(path))
        if fault["type"] == "extra_forbidden":
            tags = {str(part) for part in fault["loc"]} - set(path)
            yield f"{where}: no such key; {_meant(path, tags)}"
        else:
            shown = "" if fault["type"] == "value_error" else f"{_shown(fault['input'])}: "
            yield f"{where}: {shown}{rule_of(fault)}"


def _told_once(faults: Sequence[ErrorDetails]) -> list[ErrorDetails]:
    """Leave out what pydantic says of a list's length, of which it does not count wrong items."""
    return [
        fault
        for fault in faults
        if fault["type"] != "too_short"
        or sum(one["loc"][: len(fault["loc"])] == fault["loc"] for one in faults) == 1
    ]


def _shown(value: object) -> str:
    text = repr(value)
    return text if len(text) <= _SHOWN_CHARACTERS else f"{text[:_SHOWN_CHARACTERS]}..."


def _path(fault: ErrorDetails, tree: Tree) -> list[str]:
    """Return the keys of a fault's location, without the union tags that pydantic adds."""
    location = fault["loc"]
    node: object = tree
    path: list[str] = []
    for position, part in enumerate(location):
        absent = fault["type"] == "missing" and position == len(location) - 1
        is_tag = isinstance(part, str) and not (isinstance(node, Mapping) and part in node)
        if is_tag and not absent:
            continue
        path.append(str(part))
        node = _at(node, part)
    return path


def _at(node: object, key: str | int) -> object:
    """Return what a mapping or a list holds at a key; None: nothing."""
    if isinstance(node, list) and isinstance(key, int):
        return node[key] if key < len(node) else None
    return node.get(key) if isinstance(node, Mapping) else None


def _meant(path: Sequence[str], tags: Collection[str]) -> str:
    """Say which keys there are; tags: of the unions on the way, such as the kind of a network."""
    *section, key = path
    models = _models_at(section)
    chosen = [model for model in models if kinds_of(model) & set(tags)] or models
    allowed = sorted({field for model in chosen for field in fields_of(model)})
    having = [kind for model in models if key in fields_of(model) for kind in kinds_of(model)]
    close = difflib.get_close_matches(key, allowed, n=1)
    hint = f"did you mean {close[0]!r}? " if close else ""
    hint = f"name: {' or '.join(sorted(having))} has it; " if having else hint
    return f"{hint}keys here: {', '.join(allowed)}"


def _models_at(path: Sequence[str]) -> list[type[BaseModel]]:
    """Return the records that the section of Params at path may be."""
    here: list[object] = [Params]
    for key in path:
        here = [inner for annotation in here for inner in _inside(annotation, key)]
    return [model for annotation in here for model in models_in(annotation)]


def _inside(annotation: object, key: str) -> Iterator[object]:
    """Yield the types of the values at a key of a mapping or a record."""
    if typing.get_origin(annotation) is dict:
        yield typing.get_args(annotation)[1]
    if typing.get_origin(annotation) is tuple and key.isdecimal():
        yield typing.get_args(annotation)[0]
    for model in models_in(annotation):
        fields = fields_of(model)
        if key.isdecimal() and "steps" in fields:  # a list of augmentations is the sequence of them
            yield from _inside(fields["steps"].annotation, key)
        if key in fields:
            yield fields[key].annotation
