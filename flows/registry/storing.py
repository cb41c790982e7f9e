"""Store a version's files in MLflow, and create the version from them in one transaction."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import mlflow
from mlflow.exceptions import MlflowException

from flows.registry.packing import files_digest
from flows.runtime.scratch import scratch_folder
from flows.tracking.store import Tracking
from models.errors import IntegrityError

LOCK = Path("mlruns/registry.lock")
"""Held while a version is made: two equal registrations at once are one version."""


@dataclass(frozen=True, slots=True)
class Storing:
    """Identity, run and params that files are stored with."""

    registration: str
    """Digest by which files are found again of a process that died before making the version."""
    run_id: str
    params: Mapping[str, str]


def store_files(
    tracking: Tracking, storing: Storing, fill: Callable[[Path, str], str]
) -> tuple[str, str]:
    """Store the files that fill(new directory, model id) writes, whose digest it returns.

    They are read back once. Returns the id of MLflow's logged model and the digest.
    Raises IntegrityError where the stored files are not those written.
    """
    client = tracking.client
    _drop_orphans(tracking, storing.registration)
    logged = client.create_logged_model(
        tracking.experiment_id,
        name="network",
        source_run_id=storing.run_id,
        tags={"registration": storing.registration},
        params=dict(storing.params),
    )
    try:
        with scratch_folder(".packing-") as scratch:
            directory = scratch / "model"
            digest = fill(directory, logged.model_id)
            client.log_model_artifacts(logged.model_id, str(directory))
        _check_stored(logged.model_id, digest)
    except BaseException:
        client.finalize_logged_model(logged.model_id, "FAILED")
        raise
    client.finalize_logged_model(logged.model_id, "READY")
    return logged.model_id, digest


def create_version(
    tracking: Tracking, storing: Storing, model_id: str, *, tags: dict[str, str], description: str
) -> int:
    """Make the version, with all its tags at once; return its number."""
    _ensure_registered_name(tracking)
    created = tracking.client.create_model_version(
        tracking.name,
        source=f"models:/{model_id}",
        run_id=storing.run_id,
        tags=tags,
        description=description,
        model_id=model_id,
    )
    # Not "the latest": another process may register one meanwhile.
    return int(created.version)


def _check_stored(model_id: str, digest: str) -> None:
    # Into our own folder: of remote files MLflow leaves a temporary copy.
    with scratch_folder(".rereading-") as scratch:
        stored = mlflow.artifacts.download_artifacts(f"models:/{model_id}", dst_path=str(scratch))
        found = files_digest(Path(stored))
    if found != digest:
        raise IntegrityError(
            f"models:/{model_id}: the files stored are not those written; look at the disk that "
            "artifacts are on, then run again"
        )


def _drop_orphans(tracking: Tracking, registration: str) -> None:
    orphans = tracking.client.search_logged_models(
        [tracking.experiment_id], filter_string=f"tags.registration = '{registration}'"
    )
    for orphan in orphans:
        tracking.client.delete_logged_model(orphan.model_id)


def _ensure_registered_name(tracking: Tracking) -> None:
    try:
        tracking.client.create_registered_model(
            tracking.name,
            description=(
                f"Serve the champion: `models:/{tracking.name}@champion`. It takes images as they "
                "are stored, uint8 (n, channels, height, width), and gives class probabilities. "
                "`pitchpipe audit` shows who promoted what, and why."
            ),
        )
    except MlflowException as error:
        if error.error_code != "RESOURCE_ALREADY_EXISTS":
            raise
