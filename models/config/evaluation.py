"""`evaluation:` in params.yaml: how the selected trial is looked at on the test split."""

from pydantic import Field

from models.config.base import Record


class EvaluationParams(Record):
    """How the selected trial is looked at."""

    calibration_bins: int = Field(15, ge=2, le=100)
    """Equal-width confidence bins of the expected calibration error."""
    mistakes: int = Field(24, ge=1, le=200)
    """Most confident mistakes shown in the report."""
