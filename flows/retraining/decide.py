"""Asks `should_retrain`, importing neither torch nor MLflow nor Prefect; remembers the outcome."""

import contextlib
import os
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from importlib import metadata
from pathlib import Path

from pydantic import JsonValue, ValidationError

from flows.datasets.files import raw_version
from flows.records import ledger
from flows.records.ledger import LedgerAction
from flows.records.retraining import DatasetName, Request, Retraining
from models.config import Params, RetrainingParams, load_params, read_record
from models.decision import (
    Completed,
    Decision,
    Fingerprint,
    PastRetraining,
    TriggerContext,
    should_retrain,
)
from models.digests import digest_of
from models.errors import ConfigError, can_heal
from models.files import PARAMS, append_line, read_lines, write_text
from models.training.source import training_source_digest

REGISTRY = Path("mlruns/mlflow.db")
LAST = Path("mlruns/last_retraining.json")
COMPLETED = Path("mlruns/completed")
"""Holds the last retraining with each params, named by their digest."""
EFFORTS = Path("mlruns/retrainings.jsonl")


NO_REASONS = {"notify", "drift", "inbox", "retention", "retraining"}
"""Sections of the params that decide nothing about a version: whom we tell, what we watch, how
long we keep what and how often we retrain is no reason to."""


def fingerprint(params: Params) -> Fingerprint:
    """Digest what a retraining with these params would depend on, now."""
    return Fingerprint(
        data=raw_version(params.data.name).digest,
        params=params_digest(params),
        source=training_source_digest(),
        environment=digest_of(_installed()),
    )


def params_digest(params: Params) -> str:
    """Digest of the params that decide something about a version."""
    return digest_of(params.model_dump(mode="json", exclude=NO_REASONS))


def decide(params: Params, request: Request, *, now: Fingerprint | None = None) -> Decision:
    """Decide whether to retrain with these params now.

    now: what it would depend on, where the caller has it already. A person's question is compared
    with the last retraining of all. What a schedule asks, with the last one of the same params: two
    schedules of different params would undo each other's for ever.
    """
    now = now or fingerprint(params)
    last = last_retraining() if request.trigger == "manual" else last_with(now.params)
    context = TriggerContext(
        trigger=request.trigger,
        time=datetime.now(UTC),
        drift=request.drift,
        past=past_retrainings(params.retraining),
    )
    return should_retrain(
        now,
        last,
        context=context,
        limits=params.retraining,
        force=request.force,
    )


def last_retraining() -> Completed | None:
    """Return the record of the last retraining that came to a verdict."""
    return _recorded(LAST)


def last_with(params: str) -> Completed | None:
    """Return the last retraining with params of this digest; of any params where there is none."""
    return _recorded(COMPLETED / f"{params}.json") or last_retraining()


def last_of(name: str) -> Completed | None:
    """Return the last retraining of a registered name."""
    records = (_recorded(path) for path in [LAST, *COMPLETED.glob("*.json")])
    mine = [one for one in records if one is not None and one.name in (name, None)]
    return max(mine, key=lambda one: one.finished, default=None)


def other_default() -> str | None:
    """Say of what the last retraining was, where params.yaml names another dataset or name.

    None where they agree, where params.yaml is invalid, and where nothing is known: records of
    earlier releases name no dataset.
    """
    last = last_retraining()
    if last is None or last.dataset is None:
        return None
    try:
        params = load_params()
    except ConfigError:
        return None
    section, key, mine, other = "data", "data.name", params.data.name, last.dataset
    if mine == other and last.name is not None:
        section, key, mine, other = "registry", "registry.name", params.registered_name, last.name
    if mine == other:
        return None
    return (
        f"{PARAMS} names {mine}; the last retraining was of {other}: put "
        f"`{section}: {{name: {other}}}` into {PARAMS}, or pass --set {key}={other}"
    )


def _recorded(path: Path) -> Completed | None:
    if "MLFLOW_TRACKING_URI" not in os.environ and not REGISTRY.exists():
        return None  # with the database the champion is gone: what was completed serves nobody
    return read_record(path, Completed)


def remember(completed: Completed) -> None:
    """Record a retraining that came to a verdict."""
    text = completed.model_dump_json(indent=2)
    write_text(COMPLETED / f"{completed.fingerprint.params}.json", text)
    write_text(LAST, text)


def past_retrainings(limits: RetrainingParams) -> tuple[PastRetraining, ...]:
    """Return the retrainings that the limits may ask about, in the order they were written."""
    # The longest budget is of seven days; one more, since clocks are set.
    counted = max(timedelta(days=7), timedelta(hours=limits.cool_down_hours)) + timedelta(days=1)
    since = datetime.now(UTC) - counted
    return tuple(effort for effort in _past_retrainings() if effort.finished > since)


def _past_retrainings() -> Iterator[PastRetraining]:
    for line in read_lines(EFFORTS):
        with contextlib.suppress(ValidationError):  # a line of another release
            yield PastRetraining.model_validate_json(line)


@contextlib.contextmanager
def recording_duration(request: Request) -> Iterator[None]:
    """Put a retraining inside on the account, whether it ends in a verdict or fails.

    One that is interrupted, or stopped by what time heals, is not: it is to go on soon. A search
    alone is no retraining.
    """
    began = time.monotonic()
    try:
        yield
    except Exception as error:
        if not can_heal(error):
            _account(request, began)
        raise
    _account(request, began)


def _account(request: Request, began: float) -> None:
    if not request.tune_only:
        seconds = round(time.monotonic() - began, 3)
        effort = PastRetraining(finished=datetime.now(UTC), seconds=seconds)
        append_line(EFFORTS, effort.model_dump_json())


def _installed() -> dict[str, JsonValue]:
    """Package -> version; pitchpipe itself is left out: its source has a digest of its own."""
    return {
        name.lower(): distribution.version
        for distribution in metadata.distributions()
        # An interrupted pip install leaves folders without metadata.
        if (name := distribution.metadata["Name"]) and name.lower() != "pitchpipe"
    }


def record_no_retraining(decision: Decision, params: Params) -> Retraining:
    """Write a decision not to retrain into the ledger, and answer with it."""
    ledger.append(
        LedgerAction(action="decision", name=params.registered_name, reasons=(decision.reason,))
    )
    raw = raw_version(params.data.name)
    return Retraining(decision=decision, dataset=DatasetName(name=raw.name, digest=raw.digest))
