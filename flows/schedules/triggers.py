"""Triggers on data: new deliveries, unused batches and drift since the last retraining."""

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from flows.datasets.current import ensure_ingested
from flows.datasets.deliveries import inbox_state
from flows.datasets.files import batch_digests, raw_version
from flows.datasets.inbox import take_deliveries
from flows.datasets.versions import logged_versions
from flows.records import ledger
from flows.records.drift_reports import drift_records
from flows.records.retraining import Request
from flows.retraining.decide import last_of_name, last_with_params, params_digest
from flows.schedules.config import Schedule
from models.config import Params
from models.datasets.raw import raw_digest
from models.decision import DriftScore
from models.errors import ConfigError, InputError
from models.monitoring.records import DriftReport

log = logging.getLogger(__name__)


def take_arrivals(request: Request, *, say: Callable[[str], object]) -> Request:
    """Add the deliveries in the inbox, and measure their drift where that is the trigger.

    say: called with a line on the outcome of each delivery.
    """
    params = request.params()
    _add_deliveries(params, say)
    ensure_ingested(params.data)
    if request.trigger != "drift":
        return request
    return request.model_copy(update={"drift": measure_drift(params)})


def _add_deliveries(params: Params, say: Callable[[str], object]) -> None:
    """Add the deliveries in the inbox as batches; bad ones are quarantined."""
    taken = take_deliveries(params.data, params.inbox)
    for delivery in taken.added:
        known = "" if delivery.is_new else ", all known before"
        say(f"inbox: {delivery.delivery}: {delivery.images} images{known}")
    for bad in taken.quarantined:
        first = bad.errors[0]
        where = f"{first.where}: " if first.where else ""
        say(f"inbox: {bad.delivery} is quarantined in {bad.place}: {where}{first.message}")


@dataclass(frozen=True, slots=True)
class PendingTriggers:
    """Facts that a schedule on new data or drift waits for."""

    deliveries: tuple[str, ...]
    """Complete ones in the inbox, by name."""
    drifted: tuple[str, ...]
    """Ids of the champion's drift reports with drift since the last retraining.

    Reports made for the decision of a schedule do not count.
    """
    unused: str | None
    """Digest of the batches, where no retraining with these params has used them."""

    def __bool__(self) -> bool:
        return bool(self.deliveries or self.drifted or self.unused)


def pending_triggers(schedule: Schedule) -> PendingTriggers:
    """Find what would trigger a schedule; light, since it is called once a second."""
    params = schedule.request().params()
    waiting = inbox_state(params.data.name, params.inbox).waiting
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


def measure_drift(params: Params) -> tuple[DriftScore, ...]:
    """Measure the drift of all batches that the last retraining did not have, pooled.

    One report, so that a decision about unchanged images keeps to `drift.significance` however
    many batches there are; reports of `pitchpipe monitor` do not count, as each could be a further
    false alarm. Empty before the first retraining, and, with a warning, where the images cannot be
    compared.
    """
    last = last_with_params(params_digest(params))
    if last is None:
        return ()
    batches = batches_since(last.fingerprint.data, params.data.name)
    report = _compare(batches, params) if batches else None
    if report is None:
        return ()
    return tuple(
        DriftScore(
            name=test.name,
            statistic=test.statistic,
            p_value=test.p_value,
            threshold=test.threshold,
            drift=test.shifted,
        )
        for test in report.tests
    )


def batches_since(digest: str, name: str) -> tuple[Path, ...]:
    """Return the batches of a dataset that its version of this digest lacks, by content.

    None, with a warning, where no such version is logged.
    """
    found = [version for version in logged_versions(name) if version.digest == digest]
    if not found:
        log.warning(
            "data/versions.jsonl has no version %s of %s, the last one trained on: new batches "
            "cannot be identified, and none was compared; the next retraining logs its version",
            digest[:12],
            name,
        )
        return ()
    known = {batch.digest for batch in found[-1].batches}
    return tuple(path for path, digest in batch_digests(name) if digest not in known)


def _compare(batches: Sequence[Path], params: Params) -> DriftReport | None:
    from flows.tracking.store import open_tracking  # noqa: PLC0415
    from flows.versions.monitor import monitor_batches  # noqa: PLC0415 - imports torch and MLflow

    names = ", ".join(path.name for path in batches)
    try:
        tracking = open_tracking(params.registered_name)
        record = monitor_batches(tracking, batches, params.drift)
    except (ConfigError, InputError) as error:
        log.warning("%s: not compared: %s", names, error)
        return None
    report = record.report
    log.info(
        "%s: %s; %d images, %d copies left out",
        names,
        "drift" if report.drift else "no drift",
        report.batch_images,
        report.batch_copies,
    )
    return report
