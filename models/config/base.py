"""The base of every record that is parsed, and reading one from disk."""

from pathlib import Path
from typing import TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError


class Record(BaseModel):
    """Frozen, strict about types, and refusing keys and non-finite numbers it does not know."""

    model_config = ConfigDict(
        frozen=True, extra="forbid", strict=True, allow_inf_nan=False, use_attribute_docstrings=True
    )


_Kind = TypeVar("_Kind", bound=Record)


def read_record(path: Path, kind: type[_Kind]) -> _Kind | None:
    """Read a record from its JSON file; None where there is none that this release reads."""
    try:
        return kind.model_validate_json(path.read_bytes())
    except (OSError, ValidationError):
        return None
