"""The one question before every retraining, whoever asks: is there a reason to? Pure."""

from datetime import datetime
from typing import Literal

from models.config import Record

Trigger = Literal["manual", "cron", "new data", "drift"]


class Fingerprint(Record):
    """What a retraining depends on, each as a digest."""

    data: str
    """Of the raw batches."""
    params: str
    """Of the resolved params."""
    source: str
    """Of the code that training runs."""
    environment: str
    """Of the names and versions of the installed packages."""


class Completed(Record):
    """The last retraining that came to a verdict."""

    fingerprint: Fingerprint
    finished: datetime
    verdict: str
    version: int | None
    champion: int | None


class Decision(Record):
    """Whether to retrain, and why."""

    retrain: bool
    reason: str


def should_retrain(
    now: Fingerprint, last: Completed | None, *, trigger: Trigger = "manual", force: bool = False
) -> Decision:
    """Answer yes with what changed since the last completed retraining, or no: nothing did."""
    if force:
        return Decision(retrain=True, reason="forced")
    if last is None:
        return Decision(retrain=True, reason="no retraining was completed before")
    before, after = last.fingerprint.model_dump(), now.model_dump()
    changed = [name for name in after if after[name] != before[name]]
    if changed:
        return Decision(retrain=True, reason=f"changed: {', '.join(changed)}")
    when = last.finished.strftime("%Y-%m-%d %H:%M")
    return Decision(
        retrain=False,
        reason=f"nothing changed since the retraining of {when} ({last.verdict}); asked by: "
        f"{trigger}; --force retrains",
    )
