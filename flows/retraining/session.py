"""What a retraining works with while it runs: the engine, the mirror, and who is told."""

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
from flows.registry.promotion.aliases import HandMovedError
from flows.registry.promotion.commands import hand_moved
from flows.retraining.summary_markdown import failure_note, local_minute
from flows.tracking.events import FlowRunInfo
from flows.tracking.mirror import Mirror
from flows.tracking.reconcile import reconcile
from flows.tracking.store import Tracking, TrackingError, open_tracking
from models.config import Params
from models.datasets.prepared import MANIFEST, read_manifest
from models.datasets.sample_sheet import write_samples
from models.files import write_text
from models.trials import Device

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Session:
    """The engine that trains, and the mirror that shows."""

    engine: Engine
    mirror: Mirror
    workers: int
    """Trials at once."""
    device: Device
    tracking: Tracking
    flow_run: str
    """Prefect's id of the flow run."""


@contextlib.contextmanager
def open_session(
    params: Params, request: Request, dataset: DatasetVersion, *, flow_run: str
) -> Iterator[Session]:
    """Open the tools of one retraining; however it ends, children stop and the runs are closed."""
    with open_engine(params, request) as opened:
        tracking = open_reconciled_tracking(params)
        if request.promote and not request.tune_only:
            _require_agreement(tracking)
        mirror = Mirror(tracking, _about(params, request, dataset, flow_run))
        try:
            mirror.log_artifacts(write_sample_sheet(dataset.prepared), under="dataset")
            with stop_on_signals(opened.engine):
                yield Session(
                    opened.engine,
                    mirror,
                    workers=opened.workers,
                    device=opened.device,
                    tracking=tracking,
                    flow_run=flow_run,
                )
        except BaseException as error:
            opened.engine.stop()
            mirror.describe(failure_note(error))
            mirror.finish("FAILED" if isinstance(error, Exception) else "KILLED")
            raise


def _commit() -> dict[str, str]:
    """What MLflow's pages show as the version of the source."""
    commit = CodeFacts.read().commit
    return {"mlflow.source.git.commit": commit} if commit else {}


def open_reconciled_tracking(params: Params) -> Tracking:
    """Close what the dead left RUNNING in MLflow; one that is down is asked the next time."""
    tracking = open_tracking(params.registered_name)
    try:
        reconcile(tracking)
    except TrackingError as error:
        log.warning("%s; training goes on, MLflow is told later", error)
    return tracking


def _require_agreement(tracking: Tracking) -> None:
    """Raise before anything is trained what promotion would raise when all of it is."""
    with contextlib.suppress(TrackingError):  # MLflow may be back by then
        moved = hand_moved(tracking)
        if moved is not None:
            raise HandMovedError(moved)


def dataset_facts(dataset: DatasetVersion) -> DatasetFacts:
    """The dataset in the words of lineage."""
    return DatasetFacts(
        name=dataset.name,
        digest=dataset.digest,
        prepared_digest=dataset.prepared_digest,
        dvc_md5=dataset.dvc_md5,
        remote=dataset.remote,
    )


def _about(params: Params, request: Request, dataset: DatasetVersion, flow_run: str) -> FlowRunInfo:
    return FlowRunInfo(
        name=f"{local_minute()} {dataset.name}",
        dataset=dataset_facts(dataset),
        params=flattened(params),
        tags={"trigger": request.trigger, "pitchpipe.flow_run": flow_run, **_commit()},
    )


def write_sample_sheet(prepared: Path) -> Path:
    """Return the folder of samples.png and manifest.json, named after the arrays' digest.

    It stays: MLflow may be told of a retraining long after prepared/ holds something else.
    """
    folder = SAMPLE_SHEETS / read_manifest(prepared).digest
    # The manifest is written last: where it is, the sheet is.
    if not (folder / MANIFEST).exists():
        write_samples(prepared, folder / "samples.png")
        write_text(folder / MANIFEST, (prepared / MANIFEST).read_text(encoding="utf-8"))
    return folder
