"""Register trained weights as a version, atomically and idempotently."""

from filelock import FileLock
from mlflow.entities import LoggedModelOutput, Metric

from flows.records.lineage import flattened
from flows.registry.description import describe, tags_of
from flows.registry.listing import aliases, find_registration, find_version
from flows.registry.packing import pack
from flows.registry.records import CHALLENGER, Registration, VersionRecord
from flows.registry.storing import LOCK, Storing, create_version, store_files
from flows.tracking.events import now_ms
from flows.tracking.runs import as_shown
from flows.tracking.store import Tracking, mlflow_errors


def register(tracking: Tracking, registration: Registration) -> int:
    """Make a version and point `challenger` to it; the same registration again finds that version.

    A version that is found becomes the challenger only where none with an alias is newer: else it
    is the champion, or older than the challenger, and it is the gate's decision that counts.
    The files of a new one are written, checked to predict as the network does, stored and read back
    before the version exists; it appears with all its tags in one transaction.
    Raises IntegrityError where files do not hold what they should, TrackingError where MLflow
    fails.
    """
    LOCK.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(LOCK), mlflow_errors():
        version = find_registration(tracking, registration.digest)
        if version is None:
            version = _create(tracking, registration)
        else:
            _link_again(tracking, registration, find_version(tracking, version))
        if version > max(aliases(tracking).values(), default=0):
            tracking.client.set_registered_model_alias(tracking.name, CHALLENGER, str(version))
    return version


def _create(tracking: Tracking, registration: Registration) -> int:
    storing = Storing(
        registration=registration.digest,
        run_id=registration.run_id,
        params=flattened(registration.result.config),
    )
    model_id, digest = store_files(
        tracking,
        storing,
        lambda directory, model_id: pack(directory, registration, model_id=model_id),
    )
    _link_to_run(tracking, registration, model_id)
    return create_version(
        tracking,
        storing,
        model_id,
        tags=tags_of(registration, model_digest=digest),
        description=describe(registration, experiment_id=tracking.experiment_id),
    )


def _link_again(tracking: Tracking, registration: Registration, known: VersionRecord) -> None:
    """Show a known version on the later run that produced it again, too."""
    if known.model_id is not None and known.run_id != registration.run_id:
        _link_to_run(tracking, registration, known.model_id)


def _link_to_run(tracking: Tracking, registration: Registration, model_id: str) -> None:
    """Show the network, with its test scores, on a run that produced it."""
    client, at, facts = tracking.client, now_ms(), registration.dataset
    client.log_outputs(registration.run_id, [LoggedModelOutput(model_id, 0)])
    metrics = [
        Metric(
            f"test/{name}",
            as_shown(value),
            at,
            0,
            model_id=model_id,
            dataset_name=facts.name,
            dataset_digest=facts.mlflow_digest,
        )
        for name, value in registration.evaluation.scores
    ]
    client.log_batch(registration.run_id, metrics=metrics)
