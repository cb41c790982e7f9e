"""Asks `should_retrain`, importing neither torch nor MLflow nor Prefect; remembers the outcome."""

import os
from importlib import metadata
from pathlib import Path

from pydantic import JsonValue

from flows import ledger
from flows.dataset_files import raw_version
from flows.ledger import Deed
from flows.requests import DatasetName, Retraining
from models.config import Params, read_record
from models.decision import Completed, Decision, Fingerprint, Trigger, should_retrain
from models.digests import digest_of
from models.files import write_text
from models.training.source import training_source_digest

REGISTRY = Path("mlruns/mlflow.db")
LAST = Path("mlruns/last_retraining.json")


NO_REASONS = {"notify", "drift", "inbox", "retention"}
"""Sections of the params that decide nothing about a version: whom we tell, what we watch and
how long we keep what is no reason to retrain."""


def fingerprint(params: Params) -> Fingerprint:
    """Digest what a retraining with these params would depend on, now."""
    return Fingerprint(
        data=raw_version(params.data.name).digest,
        params=digest_of(params.model_dump(mode="json", exclude=NO_REASONS)),
        source=training_source_digest(),
        environment=digest_of(_installed()),
    )


def decide(params: Params, *, trigger: Trigger = "manual", force: bool = False) -> Decision:
    """Decide whether to retrain with these params now."""
    return should_retrain(fingerprint(params), last_retraining(), trigger=trigger, force=force)


def last_retraining() -> Completed | None:
    """Return the record of the last retraining that came to a verdict."""
    if "MLFLOW_TRACKING_URI" not in os.environ and not REGISTRY.exists():
        return None  # with the database the champion is gone: what was completed serves nobody
    return read_record(LAST, Completed)


def remember(completed: Completed) -> None:
    """Record a retraining that came to a verdict."""
    write_text(LAST, completed.model_dump_json(indent=2))


def _installed() -> dict[str, JsonValue]:
    """Package -> version; pitchpipe itself is left out: its source has a digest of its own."""
    return {
        name.lower(): distribution.version
        for distribution in metadata.distributions()
        # An interrupted pip install leaves folders without metadata.
        if (name := distribution.metadata["Name"]) and name.lower() != "pitchpipe"
    }


def nothing_to_do(decision: Decision, params: Params) -> Retraining:
    """Write a decision not to retrain into the ledger, and answer with it."""
    ledger.append(Deed(action="decision", name=params.registered_name, reasons=(decision.reason,)))
    raw = raw_version(params.data.name)
    return Retraining(decision=decision, dataset=DatasetName(name=raw.name, digest=raw.digest))
