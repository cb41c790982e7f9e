"""Upkeep: runs that the dead left RUNNING are closed; what MLflow lacks is told from journals and
drift records.
"""

import logging
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from mlflow.exceptions import MlflowException

from flows.records.drift_reports import DriftRecord, drift_records, remember_drift
from flows.tracking.drift import is_being_told, tell_report
from flows.tracking.events import JOURNALS, Ended, FlowRunInfo, now_ms, read_journal
from flows.tracking.projection import JOURNAL, TOLD, Projection, owner_of
from flows.tracking.runs import Runs
from flows.tracking.store import Tracking, asking, is_outage
from flows.tracking.writer import short

log = logging.getLogger(__name__)

_Telling = tuple[str, Callable[[], str | None]]
"""What is told, in words; how: gives its name, None where nothing was missing."""


@dataclass(frozen=True, slots=True)
class SyncReport:
    """Retrainings and drift reports by what `sync` found."""

    told: tuple[str, ...]
    """Names of those that MLflow lacked something of."""
    whole: int
    """Those that MLflow showed whole."""
    refused: tuple[str, ...] = ()
    """What could not be told whole, each with why; the next `sync` tries it again."""


def reconcile(tracking: Tracking) -> int:
    """Close runs left RUNNING by a process that is dead, as KILLED; return how many.

    Runs without an owner are other people's; those of another host cannot be judged from here.
    Raises TrackingError where MLflow cannot be asked.
    """
    runs = Runs(tracking)
    with asking():
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


def sync_runs(
    tracking: Tracking, *, trials: Path = Path("mlruns/trials"), journals: Path = JOURNALS
) -> SyncReport:
    """Tell MLflow of every retraining and drift report it does not show whole; close the dead.

    Even an empty store is filled again: runs, params, metrics, tags; reports where their folders
    still exist. What MLflow refuses of one of them does not keep it from the others. Raises
    TrackingError where MLflow cannot be asked.
    """
    told: list[str] = []
    refused: list[str] = []
    whole = 0
    with asking():
        for called, tell in (*_retrainings(tracking, trials, journals), *_reports(tracking)):
            try:
                name = tell()
            except (MlflowException, KeyError, OSError) as error:
                _raise_if_down(tracking, error)
                refused.append(f"{called}: {short(error)}")
                continue
            if name is None:
                whole += 1
            else:
                told.append(name)
    reconcile(tracking)
    return SyncReport(told=tuple(told), whole=whole, refused=tuple(refused))


def _retrainings(tracking: Tracking, trials: Path, journals: Path) -> Iterator[_Telling]:
    files = (journals / tracking.name).glob("*.jsonl")
    for journal in sorted(files, key=lambda path: path.stat().st_mtime):
        yield str(journal), partial(_tell_journal, tracking, journal, trials=trials)


def _reports(tracking: Tracking) -> Iterator[_Telling]:
    for record in drift_records(tracking.name):
        yield f"drift report {record.id[:16]}", partial(_tell_report, tracking, record)


def _tell_report(tracking: Tracking, record: DriftRecord) -> str | None:
    """Tell a report; return what it is called, None where nothing was missing."""
    if is_being_told(tracking, record):
        return None
    run_id = tell_report(tracking, record)
    if run_id is None:
        return None
    remember_drift(record.model_copy(update={"run_id": run_id}))
    return f"drift of {record.source}"


def _raise_if_down(tracking: Tracking, error: Exception) -> None:
    """Raise MlflowException where MLflow is down, so that it does not just dislike one event."""
    if isinstance(error, MlflowException | OSError) and is_outage(error):
        tracking.client.get_experiment(tracking.experiment_id)


def _tell_journal(tracking: Tracking, journal: Path, *, trials: Path) -> str | None:
    """Tell one journal; return the retraining's name, None where nothing was missing."""
    events = list(read_journal(journal))
    if not events or not isinstance(events[0], FlowRunInfo):
        return None
    began, runs = events[0], Runs(tracking)
    parent = runs.find(f"tags.`{JOURNAL}` = '{began.id}'")
    if parent is not None and parent.data.tags.get(TOLD) == str(len(events)):
        return None
    if not isinstance(events[-1], Ended) and began.owner.alive:
        return None  # its own mirror is at work
    projection = Projection(runs, began, trials=trials)
    for event in events:
        projection.tell(event)
    assert projection.parent_run_id is not None
    runs.set_tags(projection.parent_run_id, {TOLD: str(len(events))})
    return began.name
