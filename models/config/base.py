"""The base of every record that is parsed."""

from pydantic import BaseModel, ConfigDict


class Record(BaseModel):
    """Frozen, strict about types, and refusing keys and non-finite numbers it does not know."""

    model_config = ConfigDict(
        frozen=True, extra="forbid", strict=True, allow_inf_nan=False, use_attribute_docstrings=True
    )
