"""The session of one retraining: its inputs, the engine that trains, and MLflow tracking."""

import contextlib
import logging
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from flows.datasets.current import DatasetVersion
from flows.datasets.files import SAMPLE_SHEETS
from flows.engines.local import Engine, stop_on_signals
from flows.engines.opening import open_engine
from flows.records.lineage import CodeFacts, DatasetFacts, flattened
from flows.records.retraining import Request
from flows.records.trial_store import directory_of
from flows.registry.promotion.aliases import HandMovedError
from flows.registry.promotion.commands import hand_moved
from flows.registry.starting import Start
from flows.retraining.starting import find_start
from flows.retraining.summary_markdown import failure_note, local_minute
from flows.tracking.events import FlowRunInfo
from flows.tracking.mirror import Mirror
from flows.tracking.reconcile import reconcile
from flows.tracking.store import Tracking, TrackingError, TrackingRefusedError, open_tracking
from models.config import Params
from models.datasets.prepared import MANIFEST, read_manifest
from models.datasets.sample_sheet import write_samples
from models.files import write_text
from models.training.worker import TrialJob
from models.trials import Device, Outcome, TrialSpec

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Session:
    """What the steps of one retraining share."""

    request: Request
    params: Params
    """With `trial.start` looked up."""
    dataset: DatasetVersion
    engine: Engine
    workers: int
    """Trials trained at once."""
    device: Device
    tracking: Tracking
    mirror: Mirror
    flow_run: str
    """Prefect's id of the flow run."""
    start: Start | None = None
    """Weights that the trials begin with; None: with new ones."""

    def job(self, spec: TrialSpec, *, budget: int, label: str) -> TrialJob:
        """Return the job of a trial on the session's dataset; budget: epochs."""
        return TrialJob(
            spec=spec,
            directory=directory_of(spec.key),
            prepared=self.dataset.prepared,
            budget=budget,
            label=label,
            timeout_minutes=self.params.search.trial_timeout_minutes,
        )

    def train_alone(self, spec: TrialSpec, *, budget: int, label: str) -> Outcome:
        """Train a trial that is no part of the search, where the store has it not."""
        return self.engine.train(self.job(spec, budget=budget, label=label), lambda _: None)


@contextlib.contextmanager
def open_session(
    params: Params, request: Request, dataset: DatasetVersion, *, flow_run: str
) -> Iterator[Session]:
    """Open the session of one retraining; on any error, trials are stopped and MLflow runs ended.

    Raises HandMovedError if promotion is asked for and the champion was moved by hand; as
    `resolve_start` does.
    """
    start = find_start(params, dataset)
    params = start.given_to(params) if start else params
    with open_engine(params, request) as opened:
        tracking = reconcile_tracking(params)
        if request.promote and not request.tune_only:
            _check_champion(tracking)
        mirror = Mirror(tracking, _flow_run_info(params, request, dataset, flow_run))
        try:
            mirror.log_artifacts(write_sample_sheet(dataset.prepared), under="dataset")
            with stop_on_signals(opened.engine):
                yield Session(
                    request=request,
                    params=params,
                    dataset=dataset,
                    engine=opened.engine,
                    workers=opened.workers,
                    device=opened.device,
                    tracking=tracking,
                    mirror=mirror,
                    flow_run=flow_run,
                    start=start,
                )
        except BaseException as error:
            opened.engine.stop()
            mirror.describe(failure_note(error))
            mirror.finish("FAILED" if isinstance(error, Exception) else "KILLED")
            raise


def reconcile_tracking(params: Params) -> Tracking:
    """End the MLflow runs that killed retrainings left RUNNING; return tracking, opened.

    If MLflow is down, that is left to the next retraining. Raises TrackingRefusedError where it is
    there and does not let us in: nothing that is trained could be registered.
    """
    tracking = open_tracking(params.registered_name)
    try:
        reconcile(tracking)
    except TrackingRefusedError:
        raise
    except TrackingError as error:
        log.warning("%s; training goes on, MLflow is told later", error)
    return tracking


def _check_champion(tracking: Tracking) -> None:
    """Raise the error of a later promotion now, before anything is trained."""
    with contextlib.suppress(TrackingError):  # MLflow may be back by then
        moved = hand_moved(tracking)
        if moved is not None:
            raise HandMovedError(moved)


def dataset_facts(dataset: DatasetVersion) -> DatasetFacts:
    """Return a dataset version as lineage records it."""
    return DatasetFacts(
        name=dataset.name,
        digest=dataset.digest,
        prepared_digest=dataset.prepared_digest,
        dvc_md5=dataset.dvc_md5,
        remote=dataset.remote,
    )


def _flow_run_info(
    params: Params, request: Request, dataset: DatasetVersion, flow_run: str
) -> FlowRunInfo:
    commit = CodeFacts.read().commit
    # MLflow's pages show this tag as the version of the source.
    source = {"mlflow.source.git.commit": commit} if commit else {}
    return FlowRunInfo(
        name=f"{local_minute()} {dataset.name}",
        dataset=dataset_facts(dataset),
        params=flattened(params),
        tags={"trigger": request.trigger, "pitchpipe.flow_run": flow_run, **source},
    )


def write_sample_sheet(prepared: Path) -> Path:
    """Return the folder of samples.png and manifest.json, named after the arrays' digest.

    It is kept: MLflow may be told of a retraining long after prepared/ holds another dataset.
    """
    folder = SAMPLE_SHEETS / read_manifest(prepared).digest
    # The manifest is written last, so a folder that has one is complete.
    if not (folder / MANIFEST).exists():
        write_samples(prepared, folder / "samples.png")
        write_text(folder / MANIFEST, (prepared / MANIFEST).read_text(encoding="utf-8"))
    return folder
