"""Events written to MLflow, idempotently: a parent run per retraining, a child run per trial."""

from collections.abc import Iterator, Sequence
from pathlib import Path

from mlflow.entities import Metric, Run
from mlflow.utils.mlflow_tags import (
    MLFLOW_PARENT_RUN_ID,
    MLFLOW_SOURCE_NAME,
    MLFLOW_SOURCE_TYPE,
)
from pydantic import ValidationError

from flows.records.lineage import flattened
from flows.records.trial_store import directory_of
from flows.tracking.events import (
    AnyEvent,
    Ended,
    EpochEnded,
    FilesWritten,
    FlowRunInfo,
    Scored,
    Tagged,
    TrialFinished,
    TrialStarted,
)
from flows.tracking.runs import Runs, metrics_of
from models.processes import ProcessIdentity
from models.search.proposals import label_of
from models.trials import TrialFailure, TrialResult, read_history

EVENT_COUNT = "pitchpipe.events"
"""Tag of a parent run: number of its events, once the retraining has ended."""
JOURNAL = "pitchpipe.journal"
"""Tag of a parent run: the journal it mirrors."""
OWNER = "mlflow.pitchpipe.owner"
"""Tag of a run: process that must be alive while it is RUNNING, a ProcessIdentity as JSON. MLflow's
pages show no tag that begins with `mlflow.`."""
FORMER_OWNER = "pitchpipe.owner"
"""The same tag on runs of earlier releases."""


class Child:
    """The run of one trial, and the epochs that MLflow has of it."""

    def __init__(self, run_id: str, *, ended: bool = False) -> None:
        self.run_id = run_id
        self.ended = ended
        self.epochs: set[int] = set()


class Projection:
    """One retraining in MLflow. One thread owns it."""

    def __init__(self, runs: Runs, flow_run: FlowRunInfo) -> None:
        self._runs = runs
        self._flow_run = flow_run
        self._children: dict[str, Child] = {}
        self._told = 0
        self._in_doubt = False
        self.parent_run_id: str | None = None

    def tell(self, event: AnyEvent) -> None:
        """Write an event to MLflow, except for what it has already.

        Raises MlflowException or OSError; a second call completes what was begun.
        """
        try:
            self._tell(event)
        except BaseException:
            # The request may have succeeded and only its response be lost.
            self._in_doubt = True
            raise
        self._told += not isinstance(event, EpochEnded)

    def _tell(self, event: AnyEvent) -> None:
        match event:
            case FlowRunInfo():
                self._begin(event)
            case TrialStarted():
                self._start_trial(event)
            case EpochEnded():
                self.tell_epochs([event])
            case TrialFinished():
                self._finish_trial(event)
            case Scored(metrics=values):
                self._runs.log_metrics(self._parent, metrics_of(values, at=event.at, step=0))
            case Tagged(tags=tags):
                self._runs.set_tags(self._parent, tags)
            case FilesWritten(directory=directory, under=under):
                if Path(directory).is_dir():
                    self._runs.log_files(self._parent, directory, under=under)
            case Ended():
                self._end(event)

    def tell_epochs(self, events: Sequence[EpochEnded]) -> None:
        """Log epochs of one trial in one request."""
        if not events:
            return
        child = self._children[events[0].key]
        new = [event for event in events if event.record.epoch not in child.epochs]
        self._runs.log_metrics(
            child.run_id, [metric for event in new for metric in _epoch_metrics(event)]
        )
        child.epochs.update(event.record.epoch for event in new)

    def run_of(self, key: str) -> str | None:
        """Id of a trial's run; None until MLflow has it."""
        child = self._children.get(key)
        return child.run_id if child else None

    @property
    def _parent(self) -> str:
        assert self.parent_run_id is not None
        return self.parent_run_id

    def _begin(self, event: FlowRunInfo) -> None:
        found = self._runs.find(f"tags.`{JOURNAL}` = '{event.id}'")
        if found is None:
            tags = self._shared_tags() | {JOURNAL: event.id, **event.tags}
            run_id = self._runs.create(event.name, tags=tags, at=event.at)
        else:
            run_id = found.info.run_id
            self._recall_children(run_id)
        self._runs.log_params(run_id, event.params)
        self._runs.log_dataset(run_id, event.dataset, context="retraining")
        self.parent_run_id = run_id

    def _recall_children(self, parent: str) -> None:
        """Find children that MLflow has and this process does not know."""
        for run in self._runs.search(f"tags.`{MLFLOW_PARENT_RUN_ID}` = '{parent}'"):
            if (key := run.data.tags["trial.key"]) in self._children:
                continue
            child = Child(run.info.run_id, ended=run.info.status in {"FINISHED", "FAILED"})
            if not child.ended:
                child.epochs = self._runs.steps(child.run_id, "validation/loss")
            self._children[key] = child

    def _start_trial(self, event: TrialStarted) -> None:
        key = event.spec.key
        if key not in self._children and self._in_doubt:
            self._recall_children(self._parent)
        if key not in self._children:
            tags = self._shared_tags() | self._child_tags(event, key)
            run_id = self._runs.create(self._name_of(event), tags=tags, at=event.at)
            self._children[key] = Child(run_id)
        child = self._children[key]
        if not child.ended:
            self._runs.log_params(child.run_id, flattened(event.spec.config))
            self._runs.log_dataset(child.run_id, self._flow_run.dataset, context="training")

    def _finish_trial(self, event: TrialFinished) -> None:
        outcome, child = event.outcome, self._children[event.outcome.key]
        if child.ended:
            return
        self.tell_epochs(list(self._stored_epochs(event)))
        if isinstance(outcome, TrialFailure):
            self._runs.set_tags(child.run_id, {"failure": f"{outcome.kind}: {outcome.reason}"})
            self._runs.end(child.run_id, "FAILED", at=event.at)
        else:
            scores = metrics_of(_best(outcome), at=event.at, step=outcome.best_epoch)
            self._runs.log_metrics(child.run_id, scores)
            self._runs.set_tags(child.run_id, _result_tags(outcome, pruned=event.pruned))
            self._runs.end(child.run_id, "FINISHED", at=event.at)
        child.ended = True

    def _stored_epochs(self, event: TrialFinished) -> Iterator[EpochEnded]:
        """Epochs in the trial's directory: all of a cached trial, the earlier of a resumed one."""
        outcome = event.outcome
        for record in read_history(directory_of(outcome.key)):
            if record.epoch <= outcome.epochs:
                yield EpochEnded(at=event.at, key=outcome.key, record=record)

    def _end(self, event: Ended) -> None:
        for child in self._children.values():
            if not child.ended:
                self._runs.end(child.run_id, "KILLED", at=event.at)
                child.ended = True
        if event.verdict is not None:
            self._runs.rename(self._parent, f"{self._flow_run.name} · {event.verdict}")
            self._runs.set_tags(self._parent, {"verdict": event.verdict})
        self._runs.end(self._parent, event.status, at=event.at)
        # Last: `sync` skips runs that have it.
        self._runs.set_tags(self._parent, {EVENT_COUNT: str(self._told + 1)})

    def _name_of(self, event: TrialStarted) -> str:
        """What differs, and when the retraining began: a trial may be in several."""
        began = " ".join(self._flow_run.name.split()[:2])
        return f"{label_of(event.differences)[:200]} · {began}"

    def _shared_tags(self) -> dict[str, str]:
        dataset = self._flow_run.dataset
        return {
            MLFLOW_SOURCE_NAME: "pitchpipe run",
            MLFLOW_SOURCE_TYPE: "PROJECT",
            OWNER: self._flow_run.owner.model_dump_json(),
            "dataset.name": dataset.name,
            "dataset.digest": dataset.digest,
        }

    def _child_tags(self, event: TrialStarted, key: str) -> dict[str, str]:
        return {
            MLFLOW_PARENT_RUN_ID: self._parent,
            "trial.key": key,
            "trial.cached": str(event.cached).lower(),
            "trial.device": event.spec.device,
            "pitchpipe.source": event.spec.source,
        }


def owner_of(run: Run) -> ProcessIdentity | None:
    """Process that must be alive while a run is RUNNING; None: not a run of pitchpipe."""
    try:
        tags = run.data.tags
        return ProcessIdentity.model_validate_json(tags.get(OWNER) or tags[FORMER_OWNER])
    except (KeyError, ValidationError):
        return None


def _epoch_metrics(event: EpochEnded) -> Iterator[Metric]:
    """`train/loss`, `validation/accuracy`, ...: MLflow draws the charts of a group together."""
    record = event.record
    values = {}
    for name, value in record.model_dump(exclude={"epoch"}).items():
        group, _, rest = name.partition("_")
        grouped = group in {"train", "validation"}
        values[f"{group}/{rest}" if grouped else f"epoch/{name}"] = value
    yield from metrics_of(values, at=event.at, step=record.epoch)


def _best(result: TrialResult) -> dict[str, float]:
    scores = {f"best/{name}": value for name, value in result.scores}
    return scores | {"best/epoch": result.best_epoch, "seconds": result.seconds}


def _result_tags(result: TrialResult, *, pruned: bool) -> dict[str, str]:
    return {
        "trial.budget": str(result.budget),
        "trial.epochs": str(result.epochs),
        "trial.pruned": str(pruned).lower(),
        "pitchpipe.weights": result.weights_digest,
    }
