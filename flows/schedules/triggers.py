"""Triggers on data: new deliveries, unused batches and drift since the last retraining."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

from flows.datasets.current import ensure_ingested
from flows.datasets.deliveries import inbox_state
from flows.datasets.files import raw_version
from flows.datasets.inbox import take_deliveries
from flows.datasets.remote_inbox import RemoteInbox
from flows.records import ledger
from flows.records.drift_reports import drift_records
from flows.records.retraining import Request
from flows.retraining.decide import last_of_name, last_with_params, params_digest
from flows.schedules.config import Schedule
from flows.schedules.drift import expected_accuracy, newest_look, scores_of
from models.config import Params
from models.datasets.raw import raw_digest
from models.errors import some_of


def take_arrivals(
    request: Request, *, say: Callable[[str], object], remote: RemoteInbox | None = None
) -> Request:
    """Add the deliveries in the inbox, and measure their drift where that is the trigger.

    say: called with a line on the outcome of each delivery. remote: another inbox, in S3; raises
    UnreachableError where that store is away.
    """
    params = request.params()
    _add_deliveries(params, say, remote)
    ensure_ingested(params.data)
    if request.trigger != "drift":
        return request
    record = newest_look(params)
    return request.model_copy(
        update={"drift": scores_of(record), "expected": expected_accuracy(record)}
    )


def _add_deliveries(
    params: Params, say: Callable[[str], object], remote: RemoteInbox | None
) -> None:
    """Add the deliveries in the inbox as batches; bad ones are quarantined."""
    taken = take_deliveries(params.data, params.inbox, remote=remote)
    for delivery in taken.added:
        known = "" if delivery.is_new else ", all known before"
        say(f"inbox: {delivery.delivery}: {delivery.images} images{known}")
    for bad in taken.quarantined:
        first = bad.errors[0]
        where = f"{first.where}: " if first.where else ""
        say(f"inbox: {bad.delivery} is quarantined in {bad.place}: {where}{first.message}")
    for sentence in some_of(taken.refused):
        say(f"inbox: not fetched: {sentence}")


@dataclass(frozen=True, slots=True)
class PendingTriggers:
    """Facts that a schedule on new data or drift waits for."""

    deliveries: tuple[str, ...]
    """Complete ones in the inboxes, by name."""
    drifted: tuple[str, ...]
    """Ids of the champion's drift reports with drift since the last retraining.

    Reports made for the decision of a schedule do not count.
    """
    unused: str | None
    """Digest of the batches, where no retraining with these params has used them."""

    def __bool__(self) -> bool:
        return bool(self.deliveries or self.drifted or self.unused)


def pending_triggers(schedule: Schedule, *, remote: tuple[str, ...] = ()) -> PendingTriggers:
    """Find what would trigger a schedule; light, since it is called once a second.

    remote: complete deliveries of its remote inbox.
    """
    params = schedule.request().params()
    waiting = (*inbox_state(params.data.name, params.inbox).waiting, *remote)
    before, last = last_with_params(params_digest(params)), last_of_name(params.registered_name)
    used = before.fingerprint.data if before else raw_digest(())
    there = raw_version(params.data.name).digest
    unused = there if there != used else None
    if schedule.on != "drift" or last is None:
        return PendingTriggers(waiting, (), unused)
    return PendingTriggers(waiting, _drifted(params.registered_name, last.finished), unused)


def _drifted(name: str, since: datetime) -> tuple[str, ...]:
    reports = [
        one
        for one in drift_records(name)
        if one.report.drift and one.at > since and not one.batches
    ]
    champion = ledger.read().champion_of(name) if reports else None
    return tuple(one.id for one in reports if one.version == champion)
