"""Base class of all parsed records, and reading records from files."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypeVar

from pydantic import BaseModel, ConfigDict, JsonValue, ValidationError
from pydantic_core import ErrorDetails

from models.files import read_lines


class Record(BaseModel):
    """Frozen pydantic model with strict types that forbids unknown keys and non-finite numbers."""

    model_config = ConfigDict(
        frozen=True, extra="forbid", strict=True, allow_inf_nan=False, use_attribute_docstrings=True
    )


def leaves(record: BaseModel) -> dict[str, JsonValue]:
    """Map the dotted path of each leaf to its value, in field order; lists are leaves."""
    return dict(_below(record.model_dump(mode="json"), ""))


def _below(node: JsonValue, path: str) -> Iterator[tuple[str, JsonValue]]:
    if not isinstance(node, dict) or not node:
        yield path, node
        return
    for name, inner in node.items():
        yield from _below(inner, f"{path}.{name}" if path else name)


def rule_of(fault: ErrorDetails) -> str:
    """Return the rule that a value violates, in one line."""
    return fault["msg"].removeprefix("Value error, ")


_Kind = TypeVar("_Kind", bound=Record)
_Line = TypeVar("_Line")


def read_record(path: Path, kind: type[_Kind]) -> _Kind | None:
    """Read a record from its JSON file; None if it is missing or this release cannot read it."""
    try:
        return kind.model_validate_json(path.read_bytes())
    except (OSError, ValidationError):
        return None


def read_record_lines(path: Path, parse: Callable[[bytes], _Line]) -> list[_Line | None]:
    """Read an append-only file of JSON records; None for each line that `parse` finds invalid.

    parse: `model_validate_json` of a record or `validate_json` of a TypeAdapter.
    """
    return [_parsed(line, parse) for line in read_lines(path)]


def _parsed(line: bytes, parse: Callable[[bytes], _Line]) -> _Line | None:
    try:
        return parse(line)
    except ValidationError:
        return None
