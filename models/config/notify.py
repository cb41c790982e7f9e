"""`notify:` in params.yaml: who is told how a retraining ended."""

from typing import Annotated, Literal

from pydantic import Field

from models.config.base import Record

NotifiedEvent = Literal["promote", "hold", "reject", "await", "failure"]


class NotifyParams(Record):
    """A webhook that is told how retrainings end; off unless `webhook_variable` is set."""

    webhook_variable: Annotated[str, Field(pattern=r"^[A-Z_][A-Z0-9_]*$")] | None = None
    """Environment variable that holds the webhook's URL, which is a secret and never stands in
    params, such as PITCHPIPE_WEBHOOK_URL; null: nobody is told."""
    events: tuple[NotifiedEvent, ...] = ("promote", "hold", "reject", "await", "failure")
    """Ends worth telling. await: the gate passed a version, and `pitchpipe approve` is awaited;
    failure: the retraining came to no verdict."""
    timeout_seconds: float = Field(5.0, gt=0, le=60)
    """Longest wait for the webhook, each time."""
    attempts: int = Field(3, ge=1, le=10)
    """Times that the webhook is tried, with 1, 2, 4... seconds in between."""
