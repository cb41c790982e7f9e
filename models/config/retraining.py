"""`retraining:` in params.yaml: how often schedules may retrain. A person is never held up."""

from pydantic import Field

from models.config.base import Record


class RetrainingParams(Record):
    """Limits on retrainings that schedules and triggers ask for; `pitchpipe run` has none."""

    cool_down_hours: float = Field(0.0, ge=0, le=24 * 366)
    """Least time between the end of a retraining and the start of the next, in hours; 0: none."""
    per_day: int | None = Field(None, ge=1)
    """Most retrainings that end within any 24 hours, however they end; null: any number."""
    hours_per_week: float | None = Field(None, gt=0)
    """Retraining time within any 7 days, in hours, after which no more is begun; null: any."""
