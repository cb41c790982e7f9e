"""Whether the images that came since the last retraining have drifted: one answer a decision."""

import logging
from collections.abc import Sequence
from pathlib import Path

from flows.dataset_files import batch_digests
from flows.dataset_log import logged_versions
from flows.decisions import last_with, params_digest
from models.config import Params
from models.decision import DriftScore
from models.errors import ConfigError, InputError
from models.monitoring.records import DriftReport

log = logging.getLogger(__name__)


def drift_since_the_last(params: Params) -> tuple[DriftScore, ...]:
    """Compare all batches that the last retraining did not have, pooled; return the scores.

    One report, so that a decision about unchanged images is held to `drift.significance` however
    many batches there are. What was measured otherwise (`pitchpipe monitor` of any folder against
    any version) counts nothing here: each such report could be false once more. None before the
    first retraining, since there is nothing that images could have drifted from, and where the
    images cannot be compared, which is said.
    """
    last = last_with(params_digest(params))
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
    from flows.monitoring import monitor_batches  # noqa: PLC0415 - imports torch and MLflow
    from flows.tracking.store import open_tracking  # noqa: PLC0415

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
