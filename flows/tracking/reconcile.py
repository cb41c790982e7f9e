"""Close runs left RUNNING by a dead process; log what MLflow lacks from journals and records."""

import logging
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from mlflow.exceptions import MlflowException, RestException

from flows.records.drift_reports import DriftRecord, drift_records, remember_drift
from flows.tracking.drift import is_being_logged, log_missing_report
from flows.tracking.events import JOURNALS, Ended, FlowRunInfo, now_ms, read_journal
from flows.tracking.projection import EVENT_COUNT, JOURNAL, Projection, owner_of
from flows.tracking.runs import Runs
from flows.tracking.store import Tracking, is_outage, mlflow_errors
from flows.tracking.writer import error_line

log = logging.getLogger(__name__)

_Sync = tuple[str, Callable[[], str | None]]
"""A retraining or report in words; logs it and returns its name, None: nothing was missing."""


@dataclass(frozen=True, slots=True)
class SyncReport:
    """Result of `sync` for retrainings and drift reports."""

    told: tuple[str, ...]
    """Names of those that MLflow did not have whole."""
    whole: int
    """Number of those that MLflow had whole."""
    refused: tuple[str, ...] = ()
    """Those that could not be logged whole, each with its reason; the next `sync` tries again."""


def reconcile(tracking: Tracking) -> int:
    """Close runs left RUNNING by a process that is dead, as KILLED; return how many.

    Runs without an owner are not of pitchpipe; processes of another host cannot be checked here.
    Raises TrackingError where MLflow fails.
    """
    runs = Runs(tracking)
    with mlflow_errors():
        left = [
            (run, owner)
            for run in runs.search("attributes.status = 'RUNNING'")
            if (owner := owner_of(run)) is not None and not owner.alive
        ]
        for run, owner in left:
            reason = f"process {owner.pid} died and left this running"
            runs.set_tags(run.info.run_id, {"killed": reason})
            runs.end(run.info.run_id, "KILLED", at=now_ms())
    if left:
        log.info("closed %d runs that a process had left running when it died", len(left))
    return len(left)


def sync_runs(tracking: Tracking) -> SyncReport:
    """Log every retraining and drift report that MLflow lacks; close runs of dead processes.

    Even an empty store is filled again: runs, params, metrics, tags; reports where their folders
    still exist. A refused one does not stop the others. Raises TrackingError where MLflow is down.
    """
    told: list[str] = []
    refused: list[str] = []
    whole = 0
    with mlflow_errors():
        for called, log_missing in (*_retrainings(tracking), *_reports(tracking)):
            try:
                name = log_missing()
            except (MlflowException, KeyError, OSError) as error:
                _raise_if_down(tracking, error)
                refused.append(f"{called}: {error_line(error)}")
                continue
            if name is None:
                whole += 1
            else:
                told.append(name)
    reconcile(tracking)
    return SyncReport(told=tuple(told), whole=whole, refused=tuple(refused))


def _retrainings(tracking: Tracking) -> Iterator[_Sync]:
    files = (JOURNALS / tracking.name).glob("*.jsonl")
    for journal in sorted(files, key=lambda path: path.stat().st_mtime):
        yield str(journal), partial(_log_journal, tracking, journal)


def _reports(tracking: Tracking) -> Iterator[_Sync]:
    for record in drift_records(tracking.name):
        yield f"drift report {record.id[:16]}", partial(_log_report, tracking, record)


def _log_report(tracking: Tracking, record: DriftRecord) -> str | None:
    """Log a report; return its name, None where nothing was missing."""
    if is_being_logged(tracking, record):
        return None
    run_id, was_missing = log_missing_report(tracking, record)
    if not was_missing:
        return None
    remember_drift(record.model_copy(update={"run_id": run_id}))
    return f"drift of {record.source}"


def _raise_if_down(tracking: Tracking, error: Exception) -> None:
    """Raise MlflowException where MLflow is down, rather than refusing this one event.

    It is down where it did not answer; where it failed, another question tells.
    """
    if not isinstance(error, MlflowException | OSError) or not is_outage(error):
        return
    if tracking.uri.startswith("http") and not isinstance(error, RestException):
        raise error
    tracking.client.get_experiment(tracking.experiment_id)


def _log_journal(tracking: Tracking, journal: Path) -> str | None:
    """Log one journal; return the retraining's name, None where nothing was missing."""
    events = list(read_journal(journal))
    if not events or not isinstance(events[0], FlowRunInfo):
        return None
    began, runs = events[0], Runs(tracking)
    parent = runs.find(f"tags.`{JOURNAL}` = '{began.id}'")
    if parent is not None and parent.data.tags.get(EVENT_COUNT) == str(len(events)):
        return None
    if not isinstance(events[-1], Ended) and began.owner.alive:
        return None  # its own mirror is writing
    projection = Projection(runs, began)
    for event in events:
        projection.tell(event)
    assert projection.parent_run_id is not None
    runs.set_tags(projection.parent_run_id, {EVENT_COUNT: str(len(events))})
    return began.name
