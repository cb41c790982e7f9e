"""Upkeep: runs that the dead left RUNNING are closed, what MLflow lacks is told from journals."""

import logging
from dataclasses import dataclass
from pathlib import Path

from mlflow.entities import Run
from mlflow.exceptions import MlflowException
from pydantic import ValidationError

from flows.tracking.events import JOURNALS, Ended, FlowRunInfo, now_ms, read_journal
from flows.tracking.outages import is_outage
from flows.tracking.projection import JOURNAL, OWNER, TOLD, Projection
from flows.tracking.runs import Runs
from flows.tracking.store import Tracking, asking
from flows.tracking.writer import short
from models.processes import ProcessIdentity

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class SyncReport:
    """Retrainings by what `sync` found."""

    told: tuple[str, ...]
    """Names of those that MLflow lacked something of."""
    whole: int
    """Those that MLflow showed whole."""
    refused: tuple[str, ...] = ()
    """Journals that could not be told whole, each with why; the next `sync` tries them again."""


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
            if (owner := _owner_of(run)) is not None and not owner.alive
        ]
        for run, owner in left:
            reason = f"process {owner.pid} died and left this running"
            runs.set_tags(run.info.run_id, {"killed": reason})
            runs.end(run.info.run_id, "KILLED", at=now_ms())
    if left:
        log.info("closed %d runs that a process had left running when it died", len(left))
    return len(left)


def sync(
    tracking: Tracking, *, trials: Path = Path("mlruns/trials"), journals: Path = JOURNALS
) -> SyncReport:
    """Tell MLflow of every retraining it does not show whole, then close what is dead.

    Even an empty store is filled again: runs, params, metrics, tags; reports where their folders
    still exist. What MLflow refuses of one retraining does not keep it from the others. Raises
    TrackingError where MLflow cannot be asked.
    """
    told: list[str] = []
    refused: list[str] = []
    whole = 0
    with asking():
        files = (journals / tracking.name).glob("*.jsonl")
        for journal in sorted(files, key=lambda path: path.stat().st_mtime):
            try:
                name = _tell_journal(tracking, journal, trials=trials)
            except (MlflowException, KeyError) as error:
                _raise_if_down(tracking, error)
                refused.append(f"{journal}: {short(error)}")
                continue
            if name is None:
                whole += 1
            else:
                told.append(name)
    reconcile(tracking)
    return SyncReport(told=tuple(told), whole=whole, refused=tuple(refused))


def _raise_if_down(tracking: Tracking, error: MlflowException | KeyError) -> None:
    """Raise MlflowException where MLflow is down, so that it does not just dislike one event."""
    if isinstance(error, MlflowException) and is_outage(error):
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


def _owner_of(run: Run) -> ProcessIdentity | None:
    try:
        return ProcessIdentity.model_validate_json(run.data.tags[OWNER])
    except (KeyError, ValidationError):
        return None
