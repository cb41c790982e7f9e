"""From weights to a version: whole or absent, and once however often it is tried."""

import tempfile
from pathlib import Path

import mlflow
from filelock import FileLock
from mlflow.entities import LoggedModelOutput, Metric
from mlflow.exceptions import MlflowException

from flows.lineage import flattened
from flows.registry.description import describe, tags_of
from flows.registry.listing import find_registration
from flows.registry.packing import files_digest, pack
from flows.registry.records import CHALLENGER, Registration
from flows.tracking.events import now_ms
from flows.tracking.store import Tracking, asking
from models.errors import IntegrityError
from models.trials import Scores

LOCK = Path("mlruns/registry.lock")


def register(tracking: Tracking, registration: Registration) -> int:
    """Make a version and point `challenger` to it; the same registration again finds the same one.

    Its files are written, checked to predict as the network does, stored and read back before the
    version exists; the version appears with all its tags in one transaction.
    Raises IntegrityError where files do not hold what they should, TrackingError where MLflow
    cannot be asked.
    """
    LOCK.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(LOCK), asking():
        version = find_registration(tracking, registration.digest)
        if version is None:
            _drop_orphans(tracking, registration.digest)
            version = _create(tracking, registration)
        tracking.client.set_registered_model_alias(tracking.name, CHALLENGER, str(version))
    return version


def _create(tracking: Tracking, registration: Registration) -> int:
    model_id, digest = _store_files(tracking, registration)
    _link_to_run(tracking, registration, model_id)
    _ensure_registered_name(tracking)
    created = tracking.client.create_model_version(
        tracking.name,
        source=f"models:/{model_id}",
        run_id=registration.run_id,
        tags=tags_of(registration, model_digest=digest),
        description=describe(registration, experiment_id=tracking.experiment_id),
        model_id=model_id,
    )
    # Of what was just created, never "the latest": another process may register meanwhile.
    return int(created.version)


def _store_files(tracking: Tracking, registration: Registration) -> tuple[str, str]:
    """Store a version's files as a logged model; return its id and the files' digest."""
    client = tracking.client
    logged = client.create_logged_model(
        tracking.experiment_id,
        name="network",
        source_run_id=registration.run_id,
        tags={"registration": registration.digest},
        params=flattened(registration.result.config),
    )
    try:
        with tempfile.TemporaryDirectory(dir="mlruns", prefix=".packing-") as scratch:
            directory = Path(scratch) / "model"
            digest = pack(directory, registration, model_id=logged.model_id)
            client.log_model_artifacts(logged.model_id, str(directory))
        _check_stored(logged.model_id, digest)
    except BaseException:
        client.finalize_logged_model(logged.model_id, "FAILED")
        raise
    client.finalize_logged_model(logged.model_id, "READY")
    return logged.model_id, digest


def _check_stored(model_id: str, digest: str) -> None:
    stored = mlflow.artifacts.download_artifacts(f"models:/{model_id}")
    if files_digest(Path(stored)) != digest:
        raise IntegrityError(
            f"{stored}: the files stored are not those written; look at the disk, then run again"
        )


def _link_to_run(tracking: Tracking, registration: Registration, model_id: str) -> None:
    """Show the network, with its test scores, on the run that made it."""
    client, at, facts = tracking.client, now_ms(), registration.dataset
    client.log_outputs(registration.run_id, [LoggedModelOutput(model_id, 0)])
    scores = registration.evaluation.model_dump(include=set(Scores.model_fields))
    metrics = [
        Metric(
            f"test/{name}",
            value,
            at,
            0,
            model_id=model_id,
            dataset_name=facts.name,
            dataset_digest=facts.mlflow_digest,
        )
        for name, value in scores.items()
    ]
    client.log_batch(registration.run_id, metrics=metrics)


def _drop_orphans(tracking: Tracking, registration: str) -> None:
    """Delete what a process stored that died before the version was made."""
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
