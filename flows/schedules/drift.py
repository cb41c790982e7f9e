"""Looks of schedules at the drift of new batches: each at images not looked at before."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from flows.datasets.versions import batches_after
from flows.records.drift_reports import DriftRecord, drift_records
from flows.retraining.decide import last_with_params, params_digest
from models.config import Params
from models.datasets.sources.paths import shown
from models.decision import DriftScore, ExpectedAccuracy
from models.errors import ConfigError, InputError

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Looks:
    """What a schedule has seen of the batches that the last retraining did not have."""

    standing: DriftRecord | None
    """Drift that no retraining has answered yet: what came since need not be asked."""
    last: DriftRecord | None
    """The newest look at any of them."""
    fresh: tuple[Path, ...]
    """Batches not looked at."""
    earlier: tuple[Path, ...]
    """Those that were, newest look first."""


def looks_at(batches: Sequence[Path], records: Sequence[DriftRecord]) -> Looks:
    """Sort batches by the looks at them.

    records: reports about the champion, oldest first; those of `pitchpipe monitor`, which decide
    nothing, have no batches and count for nothing here.
    """
    named = {shown(path): path for path in batches}
    looks = [one for one in reversed(records) if any(name in named for name in one.batches)]
    alarms = (one for one in looks if one.report.drift and named.keys() >= set(one.batches))
    seen = list(dict.fromkeys(name for one in looks for name in one.batches if name in named))
    return Looks(
        standing=next(alarms, None),
        last=looks[0] if looks else None,
        fresh=tuple(path for name, path in named.items() if name not in seen),
        earlier=tuple(named[name] for name in seen),
    )


def newest_look(params: Params) -> DriftRecord | None:
    """Measure the drift of the batches that the last retraining did not have.

    All that were not looked at before are one report, at the level of its look: of a year of
    decisions about unchanged images at most `drift.significance` ever hear of drift. An alarm
    stands until a retraining has had its batches. Reports of `pitchpipe monitor` decide nothing.
    None before the first retraining, and, with a warning, where the images cannot be compared.
    """
    last = last_with_params(params_digest(params))
    batches = batches_after(last.fingerprint.data, params.data.name) if last else None
    return _look(batches, params) if batches else None


def expected_accuracy(record: DriftRecord | None) -> ExpectedAccuracy | None:
    """Return the accuracy that a look lets expect, by the first of its methods."""
    if record is None or record.report.expected is None:
        return None
    first = record.report.expected.estimates[0]
    return ExpectedAccuracy(
        accuracy=first.accuracy,
        low=first.interval.low,
        high=first.interval.high,
        reference=record.report.expected.reference,
    )


def scores_of(record: DriftRecord | None) -> tuple[DriftScore, ...]:
    """Return the results of a look's tests; none of no look."""
    if record is None:
        return ()
    return tuple(
        DriftScore(
            name=test.name,
            statistic=test.statistic,
            p_value=test.p_value,
            threshold=test.threshold,
            drift=test.drifted,
            too_small=test.shifted and test.small,
        )
        for test in record.report.tests
    )


def _look(batches: Sequence[Path], params: Params) -> DriftRecord | None:
    from flows.registry.listing import aliases  # noqa: PLC0415 - imports MLflow
    from flows.tracking.store import open_tracking  # noqa: PLC0415

    tracking = open_tracking(params.registered_name)
    champion = aliases(tracking).get("champion")
    records = [one for one in drift_records(tracking.name) if one.version == champion]
    looks = looks_at(batches, records)
    if looks.standing is not None:
        log.info("drift was found at %s and no retraining has answered it", looks.standing.at)
        return looks.standing
    return _compare(looks, params) if looks.fresh else looks.last


def _compare(looks: Looks, params: Params) -> DriftRecord | None:
    from flows.tracking.store import open_tracking  # noqa: PLC0415 - imports MLflow
    from flows.versions.monitor import monitor_batches  # noqa: PLC0415 - imports torch

    names = ", ".join(path.name for path in looks.fresh)
    try:
        tracking = open_tracking(params.registered_name)
        record = monitor_batches(tracking, looks.fresh, params.drift, earlier=looks.earlier)
    except (ConfigError, InputError) as error:
        log.warning("%s: not compared: %s", names, error)
        return None
    report = record.report
    log.info(
        "%s: %s; %d images, %d copies left out",
        names,
        report.answer,
        report.batch_images,
        report.batch_copies,
    )
    return record
