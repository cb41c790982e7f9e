"""Register the files of a version that was exported elsewhere."""

import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from filelock import FileLock
from mlflow.utils.mlflow_tags import MLFLOW_SOURCE_NAME, MLFLOW_SOURCE_TYPE

from flows.records.lineage import Lineage, flattened
from flows.registry.description import facts_of
from flows.registry.listing import find_files
from flows.registry.packing import files_digest
from flows.registry.probing import probe
from flows.registry.records import (
    EVALUATION,
    LINEAGE,
    read_extra,
    read_slices,
    read_trained_ids,
    read_trained_prints,
)
from flows.registry.safety.files import check_safe
from flows.registry.storing import LOCK, Storing, create_version, store_files
from flows.tracking.events import now_ms
from flows.tracking.runs import Runs
from flows.tracking.store import Tracking, mlflow_errors
from models.digests import digest_of
from models.errors import IntegrityError
from models.evaluation.records import Evaluation


@dataclass(frozen=True, slots=True)
class Imported:
    """A version's checked files, with its tags, description and report."""

    directory: Path
    """Absolute."""
    digest: str
    """Of the files."""
    origin: str
    """Name and version where they come from."""
    description: str
    report: Path | None

    @property
    def registration(self) -> str:
        """Name of this registration: of the very files, whatever their lineage claims to be.

        None that a training here comes to, so that no retraining takes these files for its own.
        """
        return digest_of(["import", self.digest])


def check_files(directory: Path, tags: Mapping[str, str], *, whose: str) -> str:
    """Check that files are a whole version that can be loaded, and the one that their tags tell of.

    Return their digest. Nothing of them is loaded: see `register_files`.
    Raises IntegrityError, beginning with `whose`, for the first thing amiss.
    """
    check_safe(directory, whose=whose)
    digest = files_digest(directory)
    if digest != tags.get("model.digest"):
        raise IntegrityError(f"{whose}: its files are not those of the version; export again")
    read_extra(Lineage, directory, LINEAGE, whose=f"{whose}: the version")
    read_extra(Evaluation, directory, EVALUATION, whose=f"{whose}: the version")
    read_slices(directory, whose=f"{whose}: the version")
    read_trained_ids(directory, whose=f"{whose}: the version")
    read_trained_prints(directory, whose=f"{whose}: the version")
    return digest


def register_files(tracking: Tracking, imported: Imported, *, whose: str) -> int:
    """Make a version of checked files; the same files again find the same version.

    Their network is loaded in a confined process first. Its tags are made from the files.
    Raises IntegrityError, beginning with `whose`, where the network cannot be loaded.
    """
    known = find_files(tracking, imported.digest)
    if known is not None:
        return known
    probe(imported.directory, whose=whose)
    LOCK.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(LOCK), mlflow_errors():
        version = find_files(tracking, imported.digest)
        return _create(tracking, imported) if version is None else version


def _create(tracking: Tracking, imported: Imported) -> int:
    lineage = read_extra(Lineage, imported.directory, LINEAGE, whose="the import")
    evaluation = read_extra(Evaluation, imported.directory, EVALUATION, whose="the import")
    tags = {
        "registration": imported.registration,
        "model.digest": imported.digest,
        **facts_of(lineage, evaluation),
        "imported.from": imported.origin,
    }
    runs, at = Runs(tracking), now_ms()
    # By the source MLflow's page knows what is no drift report.
    source = {MLFLOW_SOURCE_NAME: "pitchpipe import", MLFLOW_SOURCE_TYPE: "PROJECT"}
    run_id = runs.create(imported.origin, tags=tags | source, at=at)
    runs.log_params(run_id, flattened(lineage.spec.config))
    runs.log_dataset(run_id, lineage.dataset, context="training")
    if imported.report is not None:
        runs.log_files(run_id, str(imported.report), under="report")
    runs.end(run_id, "FINISHED", at=at)
    storing = Storing(registration=imported.registration, run_id=run_id, params={})

    def fill(directory: Path, _model_id: str) -> str:
        shutil.copytree(imported.directory, directory)
        return files_digest(directory)

    model_id, _ = store_files(tracking, storing, fill)
    return create_version(tracking, storing, model_id, tags=tags, description=imported.description)
