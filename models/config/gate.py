"""`gate:` in params.yaml: what a challenger must show before it serves."""

from pydantic import Field

from models.config.base import Record


class GateParams(Record):
    """Absolute floors and what must be shown against the champion."""

    accuracy_over_majority: float = Field(0.1, ge=0, le=1)
    """Test accuracy must exceed the majority class's share by this much."""
