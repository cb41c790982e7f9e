"""What came since the last retraining: deliveries made batches, and reports of drift."""

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


def take_arrivals(request: Request, *, say: Callable[[str], object]) -> Request:
    """Take what was delivered, and look whether it has drifted where that is asked about.

    say: told of each delivery, what became of it.
    """
    params = request.params()
    _take(params, say)
    ensure_ingested(params.data)
    if request.trigger != "drift":
        return request
    return request.model_copy(update={"drift": measure_drift(params)})


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
class PendingTriggers:
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


def pending_triggers(schedule: Schedule) -> PendingTriggers:
    """Look what there is for a schedule that waits; light, since it is asked once a second."""
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


log = logging.getLogger(__name__)


def measure_drift(params: Params) -> tuple[DriftScore, ...]:
    """Compare all batches that the last retraining did not have, pooled; return the scores.

    One report, so that a decision about unchanged images is held to `drift.significance` however
    many batches there are. What was measured otherwise (`pitchpipe monitor` of any folder against
    any version) counts nothing here: each such report could be false once more. None before the
    first retraining, since there is nothing that images could have drifted from, and where the
    images cannot be compared, which is said.
    """
    last = last_with_params(params_digest(params))
    if last is None:
        return ()
    batches = batches_since(last.fingerprint.data, params.data.name)
    report = _compared(batches, params) if batches else None
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
    """Return a dataset's batches that its version of this digest had not; by content, not by time.

    A dataset without such a version tells of none, with a warning.
    """
    found = [version for version in logged_versions(name) if version.digest == digest]
    if not found:
        log.warning(
            "data/versions.jsonl has no version %s of %s, which was trained on last: which batches "
            "are new cannot be told, and none was compared; the next retraining notes its version",
            digest[:12],
            name,
        )
        return ()
    known = {batch.digest for batch in found[-1].batches}
    return tuple(path for path, digest in batch_digests(name) if digest not in known)


def _compared(batches: Sequence[Path], params: Params) -> DriftReport | None:
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
