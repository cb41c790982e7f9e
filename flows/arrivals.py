"""What came since the last retraining: deliveries made batches, and whether they have drifted."""

import logging
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from flows.dataset_files import RAW, raw_version
from flows.dataset_version import ensure_ingested
from flows.decisions import last_of, last_retraining, last_with, params_digest
from flows.deliveries import inbox_state
from flows.drift_log import drift_records
from flows.inbox import take_deliveries
from flows.requests import Request
from flows.schedules import Schedule
from models.config import Params
from models.datasets.raw import batch_files, raw_digest
from models.decision import DriftScore
from models.errors import ConfigError, InputError

log = logging.getLogger(__name__)


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


def drift_since_the_last(params: Params) -> tuple[DriftScore, ...]:
    """Compare the batches that are newer than the last retraining; return all scores since then.

    Those of `pitchpipe monitor` count too. None before the first retraining: there is nothing that
    images could have drifted from. A batch that cannot be compared is passed over, and said.
    """
    last = last_retraining()
    if last is None:
        return ()
    for batch in batch_files(RAW / params.data.name):
        if datetime.fromtimestamp(batch.stat().st_mtime, UTC) > last.finished:
            _compare(batch, params)
    return tuple(
        DriftScore(
            name=test.name,
            statistic=test.statistic,
            p_value=test.p_value,
            threshold=test.threshold,
            drift=test.shifted,
        )
        for record in drift_records(params.registered_name)
        if record.at > last.finished
        for test in record.report.tests
    )


def _compare(batch: Path, params: Params) -> None:
    from flows.monitoring import monitor  # noqa: PLC0415 - imports torch and MLflow
    from flows.tracking.store import open_tracking  # noqa: PLC0415

    try:
        monitor(open_tracking(params.registered_name), batch, params.drift)
    except (ConfigError, InputError) as error:
        log.warning("%s was not compared: %s", batch, error)


@dataclass(frozen=True, slots=True)
class News:
    """What a trigger waits for."""

    deliveries: tuple[str, ...]
    """Whole ones in the inbox, by name."""
    drifted: tuple[str, ...]
    """Reports since the last retraining that say drift, by id."""
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
    reports = drift_records(params.registered_name)
    return News(
        waiting,
        tuple(one.id for one in reports if one.report.drift and one.at > last.finished),
        unused,
    )
