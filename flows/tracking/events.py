"""Events of a retraining, as its journal keeps them and MLflow is told them."""

import secrets
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, TypeAdapter

from flows.records.lineage import DatasetFacts
from models.config import Record, read_record_lines
from models.processes import ProcessIdentity, this_process
from models.trials import EpochRecord, Outcome, TrialSpec

JOURNALS = Path("mlruns/flow_runs")
"""Holds a folder for each registered name, and in it a file for each retraining."""
Status = Literal["FINISHED", "FAILED", "KILLED"]


def now_ms() -> int:
    """Milliseconds since 1970: MLflow's clock."""
    return time.time_ns() // 1_000_000


class Event(Record):
    """An event of a retraining; at: milliseconds since 1970."""

    at: int = Field(default_factory=now_ms)


class FlowRunInfo(Event):
    """A retraining began: the first line of its journal, and the parent run in MLflow."""

    kind: Literal["began"] = "began"
    name: str
    """Of the parent run, such as `2026-11-23 06:40 digits`."""
    dataset: DatasetFacts
    params: dict[str, str] = Field(default_factory=dict)
    """Dotted path -> value of the resolved params (flows.records.lineage.flattened)."""
    tags: dict[str, str] = Field(default_factory=dict)
    """More tags to search by: git commit, Prefect's flow run, ..."""
    id: str = Field(default_factory=lambda: secrets.token_hex(8))
    """Name of the journal, by which the parent run is found again."""
    owner: ProcessIdentity = Field(default_factory=this_process)
    """Process that must be alive while the run is RUNNING."""


class TrialStarted(Event):
    """A trial was begun, or found in the store."""

    kind: Literal["trial started"] = "trial started"
    spec: TrialSpec
    differences: dict[str, str]
    """What distinguishes it from the other trials."""
    cached: bool


class EpochEnded(Event):
    """One epoch of a trial. Not journalled: the trial's directory keeps it."""

    kind: Literal["epoch"] = "epoch"
    key: str
    record: EpochRecord


class TrialFinished(Event):
    """A trial has its outcome."""

    kind: Literal["trial finished"] = "trial finished"
    outcome: Outcome
    pruned: bool = False
    """Whether the search stopped it before its whole budget."""


class Scored(Event):
    """Metrics of the retraining as a whole, such as `test/accuracy`."""

    kind: Literal["scored"] = "scored"
    metrics: dict[str, float]


class Tagged(Event):
    """Tags of the parent run; `mlflow.note.content` is its description."""

    kind: Literal["tagged"] = "tagged"
    tags: dict[str, str]


class FilesWritten(Event):
    """A folder to be copied into the parent run's artifacts."""

    kind: Literal["files"] = "files"
    directory: str
    """Relative to the project."""
    under: str
    """Folder inside the artifacts; empty for their root."""


class Ended(Event):
    """The retraining ended, and trials still running were stopped."""

    kind: Literal["ended"] = "ended"
    status: Status
    verdict: str | None
    """Appended to the parent run's name."""


AnyEvent = Annotated[
    FlowRunInfo
    | TrialStarted
    | EpochEnded
    | TrialFinished
    | Scored
    | Tagged
    | FilesWritten
    | Ended,
    Field(discriminator="kind"),
]
_EVENT: TypeAdapter[AnyEvent] = TypeAdapter(AnyEvent)


class Journal:
    """The file of a retraining's events, one per line; epochs are kept by their trials."""

    def __init__(self, flow_run: FlowRunInfo, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._lock = threading.Lock()
        self._path = folder / f"{flow_run.id}.jsonl"

    def write(self, event: AnyEvent) -> None:
        """Append an event; it survives a kill of the process. No fsync: trials wait for this."""
        if isinstance(event, EpochEnded):
            return
        with self._lock, self._path.open("a", encoding="utf-8") as file:
            file.write(event.model_dump_json() + "\n")


def read_journal(journal: Path) -> Iterator[AnyEvent]:
    """Events of a journal in order, up to the first that cannot be read."""
    for event in read_record_lines(journal, _EVENT.validate_json):
        if event is None:
            return
        yield event
