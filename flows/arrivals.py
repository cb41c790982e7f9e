"""What came since the last retraining: deliveries made batches, and reports of drift."""

import logging
from dataclasses import dataclass
from datetime import datetime

from flows import ledger
from flows.decisions import last_retraining
from flows.deliveries import inbox_state
from flows.drift_log import drift_records
from flows.inbox import Taken, take_deliveries
from flows.schedules import Schedule
from models.config import Params

log = logging.getLogger(__name__)


def take_what_arrived(params: Params) -> Taken:
    """Make batches of the deliveries in the inbox; bad ones are quarantined, and said."""
    taken = take_deliveries(params.data, params.inbox)
    for delivery in taken.added:
        log.info("delivery %s: %d images", delivery.delivery, delivery.images)
    for bad in taken.quarantined:
        log.warning("delivery %s is quarantined in %s", bad.delivery, bad.place)
    return taken


@dataclass(frozen=True, slots=True)
class News:
    """What a trigger waits for."""

    deliveries: tuple[str, ...]
    """Whole ones in the inbox, by name."""
    drifted: tuple[str, ...]
    """Reports of the champion since the last retraining that say drift, by id.

    Those that a schedule's own decisions rest on are no news.
    """

    def __bool__(self) -> bool:
        return bool(self.deliveries or self.drifted)


def news(schedule: Schedule) -> News:
    """Look what there is for a schedule that waits; light, since it is asked once a second."""
    params = schedule.request().params()
    waiting = inbox_state(params.data.name, params.inbox).waiting
    last = last_retraining()
    if schedule.on != "drift" or last is None:
        return News(waiting, ())
    return News(waiting, _drifted(params.registered_name, last.finished))


def _drifted(name: str, since: datetime) -> tuple[str, ...]:
    reports = [
        one
        for one in drift_records(name)
        if one.report.drift and one.at > since and not one.batches
    ]
    champion = ledger.read().champion_of(name) if reports else None
    return tuple(one.id for one in reports if one.version == champion)
