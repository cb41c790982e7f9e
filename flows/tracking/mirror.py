"""The mirror: logs a retraining in MLflow as it happens; training never waits for it."""

import logging
from dataclasses import dataclass
from pathlib import Path

from mlflow.exceptions import MlflowException
from mlflow.utils.mlflow_tags import MLFLOW_RUN_NOTE

from flows.tracking.events import (
    JOURNALS,
    AnyEvent,
    Ended,
    EpochEnded,
    FilesWritten,
    FlowRunInfo,
    Journal,
    Scored,
    Status,
    Tagged,
    TrialFinished,
    TrialStarted,
)
from flows.tracking.projection import Projection
from flows.tracking.runs import Runs
from flows.tracking.store import Tracking, TrackingError, TrackingOutageError
from flows.tracking.writer import Writer
from models.credentials import without_credentials
from models.trials import EpochRecord, Outcome, TrialSpec

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class MirrorReport:
    """Delivery of a retraining's events."""

    waiting: int
    """Events not delivered when time was up; `pitchpipe sync` delivers them."""
    refused: tuple[str, ...]
    """Errors with which MLflow refused others."""

    @property
    def whole(self) -> bool:
        """Whether MLflow has everything."""
        return self.waiting == 0 and not self.refused


class Mirror:
    """Logs one retraining in MLflow; its methods return at once and never raise, from any thread.

    Each event is written to a journal as well, so that none is lost. While MLflow is down events
    wait and are retried, in order.
    """

    def __init__(self, tracking: Tracking, flow_run: FlowRunInfo) -> None:
        self.flow_run = flow_run
        self._tracking = tracking
        self._journal = Journal(flow_run, JOURNALS / tracking.name)
        self._projection = Projection(Runs(tracking), flow_run)
        self._writer = Writer(self._projection, answers=lambda: _answers(tracking))
        self._tell(flow_run)

    @property
    def parent_run_id(self) -> str | None:
        """Id of the parent run; None until MLflow has it."""
        return self._projection.parent_run_id

    def run_of(self, key: str) -> str | None:
        """Id of a trial's run; None until MLflow has it."""
        return self._projection.run_of(key)

    def wait_for_parent(self, *, timeout: float = 60.0) -> str:
        """Return the parent run's id, once all events so far are delivered.

        Raises TrackingError where MLflow is not reached in time: a version needs its run.
        """
        arrived = self.flush(timeout=timeout)
        if not arrived or self.parent_run_id is None:
            kind = TrackingError if arrived else TrackingOutageError
            raise kind(
                f"MLflow at {without_credentials(self._tracking.uri)} took nothing for "
                f"{timeout:g} s; see that it runs and that MLFLOW_TRACKING_URI names it, then run "
                "again: trained trials are kept"
            )
        return self.parent_run_id

    def trial_started(self, spec: TrialSpec, differences: dict[str, str], *, cached: bool) -> None:
        """Begin a trial's child run, named by what distinguishes it from the others."""
        self._tell(TrialStarted(spec=spec, differences=differences, cached=cached))

    def epoch(self, key: str, record: EpochRecord) -> None:
        """Log an epoch's losses and scores."""
        self._tell(EpochEnded(key=key, record=record))

    def trial_finished(self, outcome: Outcome, *, pruned: bool = False) -> None:
        """Close a trial's run; epochs that were trained earlier are logged now."""
        self._tell(TrialFinished(outcome=outcome, pruned=pruned))

    def log_metrics(self, metrics: dict[str, float]) -> None:
        """Log metrics of the parent run, such as `test/accuracy`."""
        self._tell(Scored(metrics=metrics))

    def describe(self, markdown: str) -> None:
        """Set the description of the parent run."""
        self._tell(Tagged(tags={MLFLOW_RUN_NOTE: markdown}))

    def tag(self, tags: dict[str, str]) -> None:
        """Set tags of the parent run."""
        self._tell(Tagged(tags=tags))

    def log_artifacts(self, directory: Path, *, under: str = "") -> None:
        """Copy a folder into the parent run's artifacts; it must stay until `finish` returned."""
        self._tell(FilesWritten(directory=str(directory), under=under))

    def flush(self, *, timeout: float = 30.0) -> bool:
        """Wait until all events so far are delivered; False where time is up first."""
        return self._writer.flush(timeout)

    def finish(
        self, status: Status, *, verdict: str | None = None, timeout: float | None = None
    ) -> MirrorReport:
        """Close the parent run and its open child runs, and stop the writer.

        verdict: appended to the parent's name. What MLflow has not taken after timeout seconds is
        left to `pitchpipe sync`. By default 30; where somebody interrupted, and waits, 1, or none
        where MLflow did not answer before.
        """
        self._tell(Ended(status=status, verdict=verdict))
        if timeout is None:
            timeout = self._patience(status)
        arrived = self._writer.flush(timeout)
        self._writer.stop(timeout=2.0 if arrived else 0.1)
        report = MirrorReport(self._writer.waiting, tuple(self._writer.refused))
        if not report.whole:
            log.warning(
                "MLflow has not taken %d events and refused %d; `pitchpipe sync` delivers them",
                report.waiting,
                len(report.refused),
            )
        return report

    def _patience(self, status: Status) -> float:
        if status == "KILLED":
            return 0.0 if self._writer.failing else 1.0
        return 30.0

    def _tell(self, event: AnyEvent) -> None:
        try:
            self._journal.write(event)
        except OSError as error:
            log.warning("the journal of this retraining cannot be written: %s", error)
        self._writer.put(event)


def _answers(tracking: Tracking) -> bool:
    try:
        tracking.client.get_experiment(tracking.experiment_id)
    except MlflowException:
        return False
    return True
