"""Register the files of a version that was exported elsewhere."""

import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from filelock import FileLock
from mlflow.utils.mlflow_tags import MLFLOW_SOURCE_NAME, MLFLOW_SOURCE_TYPE

from flows.records.lineage import Lineage, flattened
from flows.registry.listing import find_registration
from flows.registry.packing import files_digest
from flows.registry.records import EVALUATION, LINEAGE, read_extra, read_trained_ids
from flows.registry.safety import check_safe
from flows.registry.storing import LOCK, Storing, create_version, store_files
from flows.tracking.events import now_ms
from flows.tracking.runs import Runs
from flows.tracking.store import Tracking, mlflow_errors
from models.errors import IntegrityError
from models.evaluation.records import Evaluation


@dataclass(frozen=True, slots=True)
class Imported:
    """A version's checked files, with its tags, description and report."""

    directory: Path
    tags: dict[str, str]
    description: str
    report: Path | None


def check_files(directory: Path, tags: Mapping[str, str], *, whose: str) -> str:
    """Check that files are a whole version that can be loaded, and the one that their tags tell of.

    Return their digest. Raises IntegrityError, beginning with `whose`, for the first thing amiss.
    """
    check_safe(directory, whose=whose)
    digest = files_digest(directory)
    if digest != tags.get("model.digest"):
        raise IntegrityError(f"{whose}: its files are not those of the version; export again")
    if not tags.get("registration"):
        raise IntegrityError(f"{whose}: its version has no tag registration; export again")
    read_extra(Lineage, directory, LINEAGE, whose=f"{whose}: the version")
    read_extra(Evaluation, directory, EVALUATION, whose=f"{whose}: the version")
    read_trained_ids(directory, whose=f"{whose}: the version")
    return digest


def register_files(tracking: Tracking, imported: Imported) -> int:
    """Make a version of files; the same registration again finds the same version."""
    registration = imported.tags["registration"]
    LOCK.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(LOCK), mlflow_errors():
        version = find_registration(tracking, registration)
        return _create(tracking, imported, registration) if version is None else version


def _run_tags(imported: Imported) -> dict[str, str]:
    # By the source MLflow's page knows what is no drift report.
    return {MLFLOW_SOURCE_NAME: "pitchpipe import", MLFLOW_SOURCE_TYPE: "PROJECT"} | imported.tags


def _create(tracking: Tracking, imported: Imported, registration: str) -> int:
    lineage = read_extra(Lineage, imported.directory, LINEAGE, whose="the import")
    runs, at = Runs(tracking), now_ms()
    run_id = runs.create(imported.tags["imported.from"], tags=_run_tags(imported), at=at)
    runs.log_params(run_id, flattened(lineage.spec.config))
    runs.log_dataset(run_id, lineage.dataset, context="training")
    if imported.report is not None:
        runs.log_files(run_id, str(imported.report), under="report")
    runs.end(run_id, "FINISHED", at=at)
    storing = Storing(registration=registration, run_id=run_id, params={})

    def fill(directory: Path, _model_id: str) -> str:
        shutil.copytree(imported.directory, directory)
        return files_digest(directory)

    model_id, _ = store_files(tracking, storing, fill)
    return create_version(
        tracking, storing, model_id, tags=imported.tags, description=imported.description
    )
