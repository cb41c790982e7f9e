"""A drift report as a run of MLflow: metrics, a table in its description, files; once however
often the same question is asked.
"""

from dataclasses import dataclass
from pathlib import Path

from mlflow.utils.mlflow_tags import MLFLOW_SOURCE_NAME, MLFLOW_SOURCE_TYPE

from flows.tracking.events import now_ms
from flows.tracking.runs import Runs, metrics_of
from flows.tracking.store import Tracking, asking
from models.processes import this_process

_ASKED = "drift.report"
"""Tag with the report's id."""


@dataclass(frozen=True, slots=True)
class ShownReport:
    """What MLflow is told."""

    id: str
    name: str
    """Of the run."""
    tags: dict[str, str]
    metrics: dict[str, float]
    markdown: str
    """The run's description."""
    files: Path
    """Folder copied below `drift/` of the run's artifacts."""


def show_report(tracking: Tracking, shown: ShownReport) -> str:
    """Show a report and return its run's id; one that is shown already is completed, not doubled.

    Raises TrackingError where MLflow cannot be asked.
    """
    runs, at = Runs(tracking), now_ms()
    with asking():
        known = runs.find(f"tags.`{_ASKED}` = '{shown.id}'")
        if known is not None and known.info.status == "FINISHED":
            return str(known.info.run_id)
        run_id = known.info.run_id if known else runs.create(shown.name, tags=_tags(shown), at=at)
        runs.log_metrics(run_id, metrics_of(shown.metrics, at=at, step=0))
        runs.log_files(run_id, str(shown.files), under="drift")
        runs.end(run_id, "FINISHED", at=now_ms())
    return str(run_id)


def _tags(shown: ShownReport) -> dict[str, str]:
    owner = {f"owner.{name}": str(value) for name, value in this_process()}
    return {
        MLFLOW_SOURCE_NAME: "pitchpipe monitor",
        MLFLOW_SOURCE_TYPE: "PROJECT",
        "mlflow.note.content": shown.markdown,
        _ASKED: shown.id,
        **owner,
        **shown.tags,
    }
