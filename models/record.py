"""The base of every record that is parsed, and reading one from disk."""

from collections.abc import Iterator
from pathlib import Path
from typing import TypeVar

from pydantic import BaseModel, ConfigDict, JsonValue, ValidationError


class Record(BaseModel):
    """Frozen, strict about types, and refusing keys and non-finite numbers it does not know."""

    model_config = ConfigDict(
        frozen=True, extra="forbid", strict=True, allow_inf_nan=False, use_attribute_docstrings=True
    )


def leaves(record: BaseModel) -> dict[str, JsonValue]:
    """Dotted path -> value of every leaf, in the order of the fields; lists are leaves."""
    return dict(_below(record.model_dump(mode="json"), ""))


def _below(node: JsonValue, path: str) -> Iterator[tuple[str, JsonValue]]:
    if not isinstance(node, dict) or not node:
        yield path, node
        return
    for name, inner in node.items():
        yield from _below(inner, f"{path}.{name}" if path else name)


_Kind = TypeVar("_Kind", bound=Record)


def read_record(path: Path, kind: type[_Kind]) -> _Kind | None:
    """Read a record from its JSON file; None where there is none that this release reads."""
    try:
        return kind.model_validate_json(path.read_bytes())
    except (OSError, ValidationError):
        return None
