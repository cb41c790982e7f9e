"""What came since the last retraining: deliveries made batches, and reports of drift."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

from flows import ledger
from flows.dataset_files import raw_version
from flows.dataset_version import ensure_ingested
from flows.decisions import last_of, last_with, params_digest
from flows.deliveries import inbox_state
from flows.drift_log import drift_records
from flows.drift_since import drift_since_the_last
from flows.inbox import take_deliveries
from flows.requests import Request
from flows.schedules import Schedule
from models.config import Params
from models.datasets.raw import raw_digest


def with_arrivals(request: Request, *, say: Callable[[str], object]) -> Request:
    """Take what was delivered, and look whether it has drifted where that is asked about.

    say: told of each delivery, what became of it.
    """
    params = request.params()
    _take(params, say)
    ensure_ingested(params.data)
    if request.trigger != "drift":
        return request
    return request.model_copy(update={"drift": drift_since_the_last(params)})


def _take(params: Params, say: Callable[[str], object]) -> None:
    """Make batches of the deliveries in the inbox; bad ones are quarantined."""
    taken = take_deliveries(params.data, params.inbox)
    for delivery in taken.added:
        known = "" if delivery.is_new else ", all known before"
        say(f"inbox: {delivery.delivery}: {delivery.images} images{known}")
    for bad in taken.quarantined:
        first = bad.errors[0]
        where = f"{first.where}: " if first.where else ""
        say(f"inbox: {bad.delivery} is quarantined in {bad.place}: {where}{first.message}")


@dataclass(frozen=True, slots=True)
class News:
    """What a trigger waits for."""

    deliveries: tuple[str, ...]
    """Whole ones in the inbox, by name."""
    drifted: tuple[str, ...]
    """Reports of the champion since the last retraining that say drift, by id.

    Those that a schedule's own decisions rest on are no news.
    """
    unused: str | None
    """Digest of the batches, where no retraining with these params came to a verdict on them."""

    def __bool__(self) -> bool:
        return bool(self.deliveries or self.drifted or self.unused)


def news(schedule: Schedule) -> News:
    """Look what there is for a schedule that waits; light, since it is asked once a second."""
    params = schedule.request().params()
    waiting = inbox_state(params.data.name, params.inbox).waiting
    before, last = last_with(params_digest(params)), last_of(params.registered_name)
    used = before.fingerprint.data if before else raw_digest(())
    there = raw_version(params.data.name).digest
    unused = there if there != used else None
    if schedule.on != "drift" or last is None:
        return News(waiting, (), unused)
    return News(waiting, _drifted(params.registered_name, last.finished), unused)


def _drifted(name: str, since: datetime) -> tuple[str, ...]:
    reports = [
        one
        for one in drift_records(name)
        if one.report.drift and one.at > since and not one.batches
    ]
    champion = ledger.read().champion_of(name) if reports else None
    return tuple(one.id for one in reports if one.version == champion)
