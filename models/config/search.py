"""`search:` in params.yaml: which trials are run, and how long."""

from typing import Annotated, Literal

from pydantic import Field, JsonValue

from models.config.base import Record

Values = Annotated[list[JsonValue], Field(min_length=1)]


class SearchParams(Record):
    """Which trials are run, and for how many epochs."""

    strategy: Literal["grid"] = "grid"
    """grid: every combination of the axes' values, each exactly once."""
    epochs: int = Field(10, ge=1, le=100_000)
    """Epoch budget of a trial; not in its key: raising it goes on from what is there."""
    axes: dict[str, Values] = Field(default_factory=dict)
    """Dotted path inside `trial` -> values. No axes: one trial."""
