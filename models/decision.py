"""The one question before every retraining, whoever asks: is there a reason to? Pure."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Literal

from models.config import Record, RetrainingParams

Trigger = Literal["manual", "cron", "interval", "new data", "drift"]


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
    name: str | None = None
    """Registered name; null in records of earlier releases."""
    dataset: str | None = None
    """data.name; null in records of earlier releases."""


class PastRetraining(Record):
    """A retraining that ended, whatever it came to, and what it cost."""

    finished: datetime
    seconds: float
    """From its decision to its end."""

    @property
    def cost(self) -> timedelta:
        """Its seconds, as a duration."""
        return timedelta(seconds=self.seconds)


class DriftScore(Record):
    """One test of new images against those that the champion was judged on."""

    name: str
    statistic: float
    p_value: float | None
    threshold: float
    drift: bool
    """Whether the test found any."""


class TriggerContext(Record):
    """Who asks, when, and what is known beside the digests."""

    trigger: Trigger
    time: datetime
    drift: tuple[DriftScore, ...] = ()
    """Of the newest images; none where nothing was measured."""
    past: tuple[PastRetraining, ...] = ()
    """Retrainings of at least the last seven days and the cool-down, in any order."""


class Decision(Record):
    """Whether to retrain, and why."""

    retrain: bool
    reason: str
    not_before: datetime | None = None
    """When to ask again, where cool-down or budget is all that speaks against it."""


def should_retrain(
    now: Fingerprint,
    last: Completed | None,
    *,
    context: TriggerContext | None = None,
    limits: RetrainingParams | None = None,
    force: bool = False,
) -> Decision:
    """Answer yes with what changed since the last completed retraining, or no with the reason.

    Nothing changed: no, whoever asks, since the same inputs give the same bits; a trigger "drift"
    needs drift as well; and what a schedule asks for keeps to the limits. None as occasion: a
    person asks. `force` is for people too, and overrules all of it.
    """
    if force:
        return Decision(retrain=True, reason="forced")
    changed = _changed(now, last)
    if last is not None and not changed:
        return Decision(retrain=False, reason=_unchanged(last, context))
    if context is None or context.trigger == "manual":
        return Decision(retrain=True, reason=_cause(changed, ()))
    found = _drifting(context)
    if context.trigger == "drift" and last is not None and not found:
        return Decision(retrain=False, reason=_no_drift(changed, context.drift))
    return _held_up(context, limits or RetrainingParams()) or Decision(
        retrain=True, reason=_cause(changed, found)
    )


def _changed(now: Fingerprint, last: Completed | None) -> tuple[str, ...]:
    if last is None:
        return ()
    before, after = last.fingerprint.model_dump(), now.model_dump()
    return tuple(name for name in after if after[name] != before[name])


def _cause(changed: Sequence[str], found: Sequence[str]) -> str:
    if not changed:
        return "no retraining was completed before"
    drifted = f"; drift: {', '.join(found)}" if found else ""
    return f"changed: {', '.join(changed)}{drifted}"


def _drifting(context: TriggerContext | None) -> tuple[str, ...]:
    return tuple(score.name for score in context.drift if score.drift) if context else ()


def _unchanged(last: Completed, context: TriggerContext | None) -> str:
    trigger = context.trigger if context else "manual"
    found = _drifting(context)
    drifted = f"drift was found ({', '.join(found)}), but " if found else ""
    return (
        f"{drifted}nothing changed since the retraining of {_shown(last.finished)} "
        f"({last.verdict}); asked by: {trigger}; --force retrains"
    )


def _no_drift(changed: Sequence[str], scores: Sequence[DriftScore]) -> str:
    measured = f"none of {len(scores)} tests found drift" if scores else "no drift was measured"
    return f"changed: {', '.join(changed)}; but {measured}, and only drift was asked about"


def _held_up(context: TriggerContext, limits: RetrainingParams) -> Decision | None:
    """Say no until the cool-down is over and the budget allows it; None where both do now."""
    holds = (
        (_end_of_cool_down(context, limits), f"cool-down of {limits.cool_down_hours:g} h"),
        (_room_in_the_day(context, limits), f"budget of {limits.per_day} retrainings in 24 h"),
        (_room_in_the_week(context, limits), f"budget of {limits.hours_per_week} h in 7 days"),
    )
    ahead = [(end, why) for end, why in holds if end is not None and end > context.time]
    if not ahead:
        return None
    until, why = max(ahead)
    return Decision(retrain=False, reason=f"{why}: not before {_shown(until)}", not_before=until)


def _end_of_cool_down(context: TriggerContext, limits: RetrainingParams) -> datetime | None:
    ends = [effort.finished for effort in context.past]
    if not ends or not limits.cool_down_hours:
        return None
    return max(ends) + timedelta(hours=limits.cool_down_hours)


def _room_in_the_day(context: TriggerContext, limits: RetrainingParams) -> datetime | None:
    ends = sorted((effort.finished for effort in context.past), reverse=True)
    if limits.per_day is None or len(ends) < limits.per_day:
        return None
    return ends[limits.per_day - 1] + timedelta(days=1)


def _room_in_the_week(context: TriggerContext, limits: RetrainingParams) -> datetime | None:
    if limits.hours_per_week is None:
        return None
    spent, budget = timedelta(), timedelta(hours=limits.hours_per_week)
    for effort in sorted(context.past, key=lambda one: one.finished, reverse=True):
        spent += effort.cost
        if spent >= budget:
            return effort.finished + timedelta(days=7)
    return None


def _shown(time: datetime) -> str:
    return f"{time:%Y-%m-%d %H:%M}"
