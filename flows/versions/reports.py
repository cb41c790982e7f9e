"""Reports of versions and trials, and the why page of any two versions."""

import logging
from collections.abc import Sequence
from pathlib import Path

from flows.datasets.files import PREPARED
from flows.records import ledger
from flows.records.ledger import Entry
from flows.records.trial_store import directory_of, find_trial
from flows.registry.listing import find_version
from flows.registry.promotion.attributions import with_maps
from flows.registry.promotion.judge import score_on_test
from flows.registry.records import VersionRecord
from flows.tracking.runs import Runs
from flows.tracking.store import Tracking, TrackingError, mlflow_errors
from flows.versions.evaluate import names_trial
from models.datasets.prepared import open_split
from models.datasets.sources.origins import read_origins
from models.errors import ConfigError, InputError
from models.evaluation.report.page import WHY
from models.evaluation.report.why import WhyInput, write_why
from models.evaluation.slices.membership import slices_by_facts
from models.evaluation.slices.records import SLICES, SliceReport
from models.record import read_record

log = logging.getLogger(__name__)

REPORTS = Path("mlruns/reports")
"""Reports fetched from MLflow, and pages of compared versions."""
PAGE = "report.html"


def report_of(tracking: Tracking, target: str) -> Path:
    """Return the report of a version, an alias or a trial; one that only MLflow has is fetched.

    Raises ConfigError where there is no such target, or no report of it.
    """
    if names_trial(tracking, target):
        return _report_of_trial(target)
    record = find_version(tracking, target)
    here = report_here(record)
    return here if here is not None else _fetched(tracking, record)


def slices_beside(page: Path) -> SliceReport | None:
    """Read the scores by slice that lie beside a report; None where an earlier release wrote it."""
    return read_record(page.parent / SLICES, SliceReport)


def compare_versions(tracking: Tracking, first: str, second: str) -> Path:
    """Write which of today's test images one version fixed and broke against another.

    The gate is not asked, and no look is counted: the page says so, and what the ledger has about
    the two. Raises as `score_on_test`, ConfigError where the two are one version, and InputError
    where they share no class.
    """
    records = [find_version(tracking, one) for one in (first, second)]
    if records[0].version == records[1].version:
        raise ConfigError(
            f"--compare {first} {second}: both are version {records[0].version} of "
            f"{tracking.name}; name two versions, `pitchpipe versions` lists them"
        )
    challenger, champion = (score_on_test(tracking, str(one.version)) for one in records)
    names = (f"version {records[0].version}", f"version {records[1].version}")
    if {*challenger.unknown, *champion.unknown} >= set(challenger.classes):
        raise InputError(f"{names[0]} and {names[1]} share no class; compare others")
    images = open_split(PREPARED, "test", verify=True).images
    why = WhyInput(
        title=f"{tracking.name}: {names[0]} against {names[1]}",
        challenger=challenger,
        champion=champion,
        images=images,
        names=names,
        recorded=recorded_between(
            ledger.read().of(tracking.name), (records[0].version, records[1].version)
        ),
        slices=slices_by_facts(images, read_origins(PREPARED)),
    )
    folder = f"{records[0].version}-against-{records[1].version}"
    path = REPORTS / tracking.name / folder / WHY
    write_why(path, with_maps(tracking, why, (records[0].version, records[1].version)))
    return path


def recorded_between(entries: Sequence[Entry], pair: tuple[int, int]) -> tuple[str, ...]:
    """Return what ledger entries of one name say of two versions, oldest first, in sentences.

    Intents, and what a crash left undone, decided nothing.
    """
    return tuple(
        f"{entry.time[:10]}, ledger entry {entry.number}, version {entry.after} against version "
        f"{entry.before}: {entry.verdict or entry.action}: {'; '.join(entry.reasons)}"
        for entry in entries
        if entry.action not in ("intent", "abandon") and {entry.before, entry.after} == set(pair)
    )


def _report_of_trial(key: str) -> Path:
    trial = find_trial(key)
    found = sorted(directory_of(trial.key).glob(f"evaluations/*/{PAGE}"))
    if not found:
        raise ConfigError(
            f"trial {trial.key[:12]} has no report: only the selected trial of a retraining has "
            f"one; `pitchpipe trials show {trial.key[:12]}` shows its validation scores"
        )
    return found[-1]


def report_here(record: VersionRecord) -> Path | None:
    """Return the report of a version in the trial store; None where there is none."""
    key, budget = record.tags.get("trial.key", ""), record.tags.get("trial.budget", "")
    if not key or not budget.isdecimal():
        return None
    path = directory_of(key) / "evaluations" / f"{int(budget):06d}" / PAGE
    return path if path.is_file() else None


def renew_copy(tracking: Tracking, record: VersionRecord, report: Path) -> None:
    """Copy a report that was added to, and the files beside it, over MLflow's copy of them.

    Where MLflow refuses, a warning is logged; the report here is the newer one.
    """
    if record.run_id is None:
        return
    try:
        with mlflow_errors():
            Runs(tracking).log_files(record.run_id, str(report.parent), under="report")
    except (TrackingError, OSError) as error:
        log.warning("%s is newer than its copy in MLflow: %s", report, error)


def _fetched(tracking: Tracking, record: VersionRecord) -> Path:
    folder, run_id = REPORTS / tracking.name / str(record.version), record.run_id
    folder.mkdir(parents=True, exist_ok=True)
    with mlflow_errors():
        if run_id is not None and tracking.client.list_artifacts(run_id, "report"):
            path = Path(tracking.client.download_artifacts(run_id, "report", str(folder))) / PAGE
            if path.is_file():
                return path
    raise ConfigError(
        f"version {record.version} of {record.name} has no report any more; "
        f"`pitchpipe evaluate {record.version}` scores it again"
    )
