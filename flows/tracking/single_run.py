"""A record as one run of MLflow: begun once, completed where it broke off, never left RUNNING."""

import contextlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field

from mlflow.utils.mlflow_tags import MLFLOW_RUN_NOTE, MLFLOW_SOURCE_NAME, MLFLOW_SOURCE_TYPE

from flows.tracking.events import now_ms
from flows.tracking.projection import OWNER
from flows.tracking.runs import Runs
from models.processes import this_process


@dataclass(frozen=True, slots=True)
class SingleRun:
    """What a record's run is called, and by what it is found again."""

    name: str
    tag: str
    """Tag that holds the record's id."""
    id: str
    source: str
    """Command that made the record, in words."""
    note: str
    """Description, Markdown."""
    at: int
    """Milliseconds since 1970."""
    facts: Mapping[str, str] = field(default_factory=dict)
    """Further tags, to filter by."""

    @property
    def condition(self) -> str:
        """In MLflow's filter language: the runs of this record."""
        return f"tags.`{self.tag}` = '{self.id}'"

    @property
    def tags(self) -> dict[str, str]:
        """Tags of the run, with this process as its owner."""
        return {
            MLFLOW_SOURCE_NAME: self.source,
            MLFLOW_SOURCE_TYPE: "PROJECT",
            MLFLOW_RUN_NOTE: self.note,
            OWNER: this_process().model_dump_json(),
            self.tag: self.id,
            **self.facts,
        }


def log_once(runs: Runs, single: SingleRun, write: Callable[[str], None]) -> tuple[str, bool]:
    """Write a record's run unless it is there whole; return its id, and whether it was not.

    write: logs what the run with this id shows. A run that was begun and not finished is completed.
    Raises what `write` raises; the run is then FAILED, as far as MLflow can be reached, and the
    next call completes it.
    """
    known = runs.find(single.condition)
    if known is not None and known.info.status == "FINISHED":
        return str(known.info.run_id), False
    run_id = str(
        known.info.run_id if known else runs.create(single.name, tags=single.tags, at=single.at)
    )
    with _failing(runs, run_id):
        runs.set_tags(run_id, single.tags)
        write(run_id)
        runs.end(run_id, "FINISHED", at=single.at)
    return run_id, True


@contextlib.contextmanager
def _failing(runs: Runs, run_id: str) -> Iterator[None]:
    """End the run as FAILED where the block raises or is interrupted."""
    try:
        yield
    except BaseException:
        with contextlib.suppress(Exception):  # the first error is the one to raise
            runs.end(run_id, "FAILED", at=now_ms())
        raise
