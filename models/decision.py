"""The decision whether to retrain, for people and for schedules. Pure."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Literal

from models.config import Record, RetrainingParams

Trigger = Literal["manual", "cron", "interval", "new data", "drift"]


class Fingerprint(Record):
    """Digests of everything that a retraining depends on."""

    data: str
    """Of the raw batches."""
    params: str
    """Of the resolved params."""
    source: str
    """Of the source code of training."""
    environment: str
    """Of the names and versions of the installed packages."""
    start: str | None = None
    """Of the weights that training begins with; null: new ones, and in earlier releases."""


class Completed(Record):
    """A retraining that reached a verdict."""

    fingerprint: Fingerprint
    finished: datetime
    verdict: str
    version: int | None
    champion: int | None
    name: str | None = None
    """Registered name; null in records of earlier releases."""
    dataset: str | None = None
    """data.name; null in records of earlier releases."""
    weights: str | None = None
    """Digest of the weights of the version; null in records of earlier releases."""


class PastRetraining(Record):
    """When a retraining ended, with or without a verdict, and how long it took."""

    finished: datetime
    seconds: float
    """From its decision to its end."""

    @property
    def cost(self) -> timedelta:
        """Its duration."""
        return timedelta(seconds=self.seconds)


class DriftScore(Record):
    """One test of new images against the champion's validation images."""

    name: str
    statistic: float
    p_value: float | None
    threshold: float
    drift: bool
    """Whether the test detected drift."""
    too_small: bool = False
    """Whether it detected a shift that is too small to act on."""


class ExpectedAccuracy(Record):
    """Accuracy of the champion on the newest images, estimated without labels."""

    accuracy: float
    low: float
    """Of a 95 % interval."""
    high: float
    reference: float
    """Its accuracy on validation."""

    @property
    def sentence(self) -> str:
        """The same in words."""
        return (
            f"expected accuracy {self.accuracy:.3f} [{self.low:.3f}, {self.high:.3f}] on the "
            f"newest images, {self.reference:.3f} on validation (estimated without labels)"
        )


class NewData(Record):
    """Images in batches that the last retraining did not have, copies included."""

    images: int
    before: int
    """Images that it had."""
    relabelled: int = 0
    """Images that have another label since, or were dropped."""

    @property
    def changed(self) -> int:
        """Images that make a difference."""
        return self.images + self.relabelled

    @property
    def sentence(self) -> str:
        """The same in words."""
        relabelled = f", {self.relabelled:,} relabelled" if self.relabelled else ""
        return f"{self.images:,} new images beside {self.before:,}{relabelled}"


class ExpectedGain(Record):
    """Rise of the accuracy that new images promise, by the learning curve of their dataset."""

    gain: float
    low: float
    """Of a 95 % interval."""
    high: float
    detectable: float | None
    """True lead that the test split shows with a power of 80 %; null: not known."""

    @property
    def sentence(self) -> str:
        """The same in words."""
        text = (
            f"expected to bring {100 * self.gain:+.2g} points "
            f"[{100 * self.low:.2g}, {100 * self.high:.2g}]"
        )
        if self.detectable is None:
            return text
        if self.high < self.detectable:
            return f"{text}, below what the test split can show"
        shown = "enough" if self.low >= self.detectable else "maybe enough"
        return f"{text}, {shown} for the test split to show"


class TriggerContext(Record):
    """Circumstances of a decision, beside the fingerprint."""

    trigger: Trigger
    time: datetime
    drift: tuple[DriftScore, ...] = ()
    """Of the newest images; empty if drift was not measured."""
    expected: ExpectedAccuracy | None = None
    """On the newest images; null if it was not estimated."""
    new: NewData | None = None
    """Null if it is not known."""
    gain: ExpectedGain | None = None
    """Of these; null if their dataset has no curve."""
    past: tuple[PastRetraining, ...] = ()
    """Retrainings of at least the last seven days and the cool-down, in any order."""


class Decision(Record):
    """Whether to retrain, and why."""

    retrain: bool
    reason: str
    not_before: datetime | None = None
    """The earliest time to decide again, if only cool-down or budget stands against retraining."""


def should_retrain(
    now: Fingerprint,
    last: Completed | None,
    *,
    context: TriggerContext | None = None,
    limits: RetrainingParams | None = None,
    force: bool = False,
) -> Decision:
    """Decide whether to retrain: yes with what changed since the last retraining, or no with why.

    If nothing changed the answer is no for every trigger, as the same inputs give the same bits.
    The trigger "drift" requires drift too, and schedules must keep to the limits. Without context
    the trigger is manual. `force` overrides everything.

    A champion from whose weights training begins has changed where it is neither the one that the
    last retraining began with nor the version that it made: else each promotion would cause one
    more retraining, for ever.
    """
    if force:
        return Decision(retrain=True, reason="forced")
    changed = _changed(now, last)
    if last is not None and not changed:
        return Decision(retrain=False, reason=_unchanged(last, context))
    if context is None or context.trigger == "manual":
        return Decision(retrain=True, reason=_cause(changed, context))
    drifted = _drifted(context)
    if context.trigger == "drift" and last is not None and not drifted:
        reason = _no_drift(changed, context.drift)
        return Decision(retrain=False, reason=_with_accuracy(reason, context))
    limits = limits or RetrainingParams()
    if not drifted and (little := _little_data(changed, context, limits)):
        return Decision(retrain=False, reason=little)
    return _postponed(context, limits) or Decision(
        retrain=True, reason=_with_accuracy(_cause(changed, context), context)
    )


def _little_data(
    changed: Sequence[str], context: TriggerContext, limits: RetrainingParams
) -> str | None:
    """Say why new data alone is too little, by its images or by what they promise; None: it is not.

    What they promise is too little where even the upper end of its interval is; what corrected
    labels bring, no curve says.
    """
    if context.new is None or list(changed) != ["data"]:
        return None
    amount, least, gain = context.new.sentence, limits.minimum_expected_gain, context.gain
    if context.new.changed < limits.minimum_new_images:
        return f"{amount}: fewer than {limits.minimum_new_images:,} (retraining.minimum_new_images)"
    if least is None or gain is None or gain.high >= least or context.new.relabelled:
        return None
    return (
        f"{amount}, {gain.sentence}: at best less than {100 * least:g} points "
        "(retraining.minimum_expected_gain)"
    )


def _with_accuracy(reason: str, context: TriggerContext) -> str:
    return f"{reason}; {context.expected.sentence}" if context.expected else reason


def _changed(now: Fingerprint, last: Completed | None) -> tuple[str, ...]:
    if last is None:
        return ()
    before, after = last.fingerprint.model_dump(), now.model_dump()
    if now.start is not None and now.start == last.weights:
        before["start"] = now.start
    return tuple(name for name in after if after[name] != before[name])


def _cause(changed: Sequence[str], context: TriggerContext | None) -> str:
    if not changed:
        return "no retraining was completed before"
    drifted = () if context is None or context.trigger == "manual" else _drifted(context)
    drift = f"; drift: {', '.join(drifted)}" if drifted else ""
    return f"changed: {', '.join(changed)}{drift}{_amount(changed, context)}"


def _amount(changed: Sequence[str], context: TriggerContext | None) -> str:
    """How much the data grew, where it did."""
    new = context.new if context and "data" in changed else None
    if not new or not new.changed:
        return ""
    promised = f", {context.gain.sentence}" if context and context.gain else ""
    return f"; {new.sentence}{promised}"


def _drifted(context: TriggerContext | None) -> tuple[str, ...]:
    return tuple(score.name for score in context.drift if score.drift) if context else ()


def _unchanged(last: Completed, context: TriggerContext | None) -> str:
    trigger = context.trigger if context else "manual"
    drifted = _drifted(context)
    drift = f"drift was found ({', '.join(drifted)}), but " if drifted else ""
    return (
        f"{drift}nothing changed since the retraining of {_minute(last.finished)} "
        f"({last.verdict}); trigger: {trigger}; --force retrains"
    )


def _no_drift(changed: Sequence[str], scores: Sequence[DriftScore]) -> str:
    measured = f"none of {len(scores)} tests found drift" if scores else "no drift was measured"
    if small := ", ".join(score.name for score in scores if score.too_small):
        measured += f" (shift seen, too small to act on: {small})"
    return f"changed: {', '.join(changed)}; but {measured}, and the trigger is drift"


def _postponed(context: TriggerContext, limits: RetrainingParams) -> Decision | None:
    """Decide no while cool-down or budget does not allow a retraining; None: both allow it."""
    limited_until = (
        (_cool_down_end(context, limits), f"cool-down of {limits.cool_down_hours:g} h"),
        (_daily_budget_renewal(context, limits), f"budget of {limits.per_day} retrainings in 24 h"),
        (_weekly_budget_renewal(context, limits), f"budget of {limits.hours_per_week} h in 7 days"),
    )
    ahead = [(end, limit) for end, limit in limited_until if end is not None and end > context.time]
    if not ahead:
        return None
    until, limit = max(ahead)
    return Decision(retrain=False, reason=f"{limit}: not before {_minute(until)}", not_before=until)


def _cool_down_end(context: TriggerContext, limits: RetrainingParams) -> datetime | None:
    ends = [past.finished for past in context.past]
    if not ends or not limits.cool_down_hours:
        return None
    return max(ends) + timedelta(hours=limits.cool_down_hours)


def _daily_budget_renewal(context: TriggerContext, limits: RetrainingParams) -> datetime | None:
    ends = sorted((past.finished for past in context.past), reverse=True)
    if limits.per_day is None or len(ends) < limits.per_day:
        return None
    return ends[limits.per_day - 1] + timedelta(days=1)


def _weekly_budget_renewal(context: TriggerContext, limits: RetrainingParams) -> datetime | None:
    if limits.hours_per_week is None:
        return None
    spent, budget = timedelta(), timedelta(hours=limits.hours_per_week)
    for past in sorted(context.past, key=lambda past: past.finished, reverse=True):
        spent += past.cost
        if spent >= budget:
            return past.finished + timedelta(days=7)
    return None


def _minute(time: datetime) -> str:
    return f"{time:%Y-%m-%d %H:%M}"
