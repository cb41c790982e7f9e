"""Axes of a search, dotted paths inside TrialConfig, and TrialConfigs made from points."""

import difflib
import json
import math
import types
import typing
from collections.abc import Iterator, Mapping, Sequence

from pydantic import BaseModel, JsonValue
from pydantic.fields import FieldInfo

from models.config.trial import TrialConfig
from models.errors import ConfigError

Point = Mapping[str, JsonValue]
"""Axis -> value: the changes of a trial to the base TrialConfig."""


def apply_point(base: TrialConfig, point: Point) -> TrialConfig:
    """Return the TrialConfig that differs from base by the point.

    Choosing another `network.name` (or any other kind) keeps the fields both kinds have and takes
    the new kind's defaults for the rest. Raises ConfigError for an axis that is no field of the
    kinds chosen, pydantic's ValidationError for a value out of range.
    """
    tree = base.model_dump(mode="json")
    for axis in sorted(point, key=lambda axis: (not axis.endswith(".name"), axis)):
        *sections, field = axis.split(".")
        node = _descend(tree, sections, axis)
        if field == "name" and node.get("name") != point[axis]:
            _change_kind(node, sections, point[axis])
        elif field not in (_fields(".".join(sections), str(node.get("name"))) or node):
            raise ConfigError(_unknown(axis))
        node[field] = point[axis]
    return TrialConfig.model_validate_json(json.dumps(tree))


def axis_points(
    axes: Mapping[str, Sequence[JsonValue]],
) -> Iterator[tuple[str, JsonValue, Point]]:
    """Yield (axis, value, smallest point that can hold it) for each value of each axis.

    The point of a field that only some kinds have includes a kind, of those to be chosen, that has
    it.
    """
    for axis, values in axes.items():
        section, _, field = axis.rpartition(".")
        kinds = axes.get(f"{section}.name", ()) if field != "name" else ()
        fitting = [kind for kind in kinds if field in _fields(section, str(kind))]
        for value in values:
            context = {f"{section}.name": fitting[0]} if fitting else {}
            yield axis, value, {**context, axis: value}


def partial_axes(axes: Mapping[str, Sequence[JsonValue]]) -> Iterator[str]:
    """Yield the axes whose field some of the kinds to be chosen do not have."""
    for axis in axes:
        section, _, field = axis.rpartition(".")
        kinds = axes.get(f"{section}.name", ()) if field != "name" else ()
        if any(field not in _fields(section, str(kind)) for kind in kinds):
            yield axis


def axis_names() -> list[str]:
    """Return every dotted path that can be an axis, of all kinds."""
    return sorted(set(_leaves([TrialConfig], prefix="")))


def _descend(
    tree: dict[str, JsonValue], sections: Sequence[str], axis: str
) -> dict[str, JsonValue]:
    node = tree
    for section in sections:
        inner = node.get(section)
        if not isinstance(inner, dict):
            raise ConfigError(_unknown(axis))
        node = inner
    return node


def _change_kind(node: dict[str, JsonValue], sections: Sequence[str], kind: JsonValue) -> None:
    kept = _fields(".".join(sections), str(kind))
    for field in set(node) - kept:
        del node[field]


def of_kind(section: str, kind: object, fields: Mapping[str, object]) -> dict[str, object]:
    """Return those of the given fields that a kind has; all where there is no such kind."""
    known = _fields(section, str(kind))
    return {name: value for name, value in fields.items() if not known or name in known}


def _fields(section: str, kind: str) -> set[str]:
    """Return the fields of a kind of a section such as `network`; none where it does not exist."""
    if section not in TrialConfig.model_fields:
        return set()
    for model in models_in(TrialConfig.model_fields[section].annotation):
        if kind in kinds_of(model):
            return set(model.model_fields)
    return set()


def kinds_of(model: type[BaseModel]) -> set[str]:
    """Return the values of `name` that choose this record of a union; none where none do."""
    name = model.model_fields.get("name")
    return set() if name is None else set(typing.get_args(name.annotation))


def _leaves(models: Sequence[type[BaseModel]], *, prefix: str) -> Iterator[str]:
    for model in models:
        for name, field in fields_of(model).items():
            inner = models_in(field.annotation)
            if inner:
                yield from _leaves(inner, prefix=f"{prefix}{name}.")
            else:
                yield f"{prefix}{name}"


def fields_of(model: type[BaseModel]) -> dict[str, FieldInfo]:
    """Return the fields of a record by the names that they have in a file."""
    return {field.alias or name: field for name, field in model.model_fields.items()}


def models_in(annotation: object) -> list[type[BaseModel]]:
    """Return the records in an annotation: itself, or the members of its union."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    if typing.get_origin(annotation) in (typing.Union, types.UnionType, typing.Annotated):
        return [model for part in typing.get_args(annotation) for model in models_in(part)]
    return []


def _unknown(axis: str) -> str:
    names = axis_names()
    close = difflib.get_close_matches(axis, names, n=1)
    section, _, field = axis.rpartition(".")
    if section == "start" and axis in names:
        return "trial.start is null; write trial.start.from beside it"
    if axis in names:
        return f"the {section} chosen has no {field}; choose another {section}.name"
    hint = f"did you mean {close[0]!r}? " if close else ""
    return f"is not a field of `trial`; {hint}fields: {', '.join(names)}"


def applicable(base: TrialConfig, point: Point) -> Point:
    """Return the point without the axes that its kinds do not have."""
    chosen: dict[str, JsonValue] = {}
    for axis, value in point.items():
        section, _, field = axis.rpartition(".")
        if _has(section, str(point.get(f"{section}.name", _kind(base, section))), field):
            chosen[axis] = value
    return chosen


def count_points(base: TrialConfig, axes: Mapping[str, Sequence[JsonValue]]) -> int:
    """Count the points of some axes that differ after `applicable`."""
    sections = {axis.rpartition(".")[0] for axis in axes}
    return math.prod(_count_in(section, base, axes) for section in sections)


def _count_in(section: str, base: TrialConfig, axes: Mapping[str, Sequence[JsonValue]]) -> int:
    named = f"{section}.name"
    fields = {
        axis.rpartition(".")[2]: len(set(map(json.dumps, values)))
        for axis, values in axes.items()
        if axis.rpartition(".")[0] == section and axis != named
    }
    return sum(
        math.prod(count for field, count in fields.items() if _has(section, kind, field))
        for kind in set(map(str, axes.get(named, [_kind(base, section)])))
    )


def _kind(base: TrialConfig, section: str) -> str:
    """Return the kind of a section of base; empty where the section has no kinds."""
    return str(getattr(getattr(base, section, None), "name", ""))


def _has(section: str, kind: str, field: str) -> bool:
    fields = _fields(section, kind)
    return not fields or field in fields
