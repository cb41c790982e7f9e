"""`pitchpipe status`: what runs, what is in service, what came last; light to import."""

import os
import sqlite3
from collections.abc import Iterator
from datetime import UTC, datetime

from pydantic import JsonValue

from flows.datasets.deliveries import inbox_state
from flows.records import ledger
from flows.records.champion import MLFLOW_DATABASE, Champion, read_champion
from flows.records.ledger import Entry
from flows.retraining.decide import last_retraining
from flows.runtime.prefect_server import running_services
from flows.runtime.retraining_lock import Owner, holder
from flows.runtime.servers import answers
from flows.schedules.config import read_schedules
from models.config import Params, Record, load_params
from models.errors import PitchpipeError
from models.trials import Scores


class ServiceStatus(Record):
    """A service of a living `pitchpipe up`."""

    name: str
    url: str
    answers: bool


class ChampionStatus(Record):
    """The version in service."""

    name: str
    """Registered name."""
    version: int
    test: Scores | None
    """On the test split, when it was registered."""


class LastRun(Record):
    """The last retraining that came to a verdict."""

    finished: str
    """ISO 8601, UTC."""
    verdict: str
    version: int | None
    champion: int | None
    """After it."""
    reasons: tuple[str, ...]
    """The gate's, in words."""


class LastDecision(Record):
    """The last time that there was no reason to retrain."""

    time: str
    reason: str


class Deliveries(Record):
    """How many deliveries lie in the inbox of the dataset, or were set aside."""

    waiting: int
    arriving: int
    """Still being written."""
    quarantined: int


class Status(Record):
    """The project at a glance; what does not apply is null."""

    services: tuple[ServiceStatus, ...]
    schedules: tuple[JsonValue, ...]
    champion: ChampionStatus | None
    deliveries: Deliveries
    running: Owner | None
    """The retraining that runs now."""
    last_run: LastRun | None
    last_decision: LastDecision | None
    """Null where a retraining came after it."""


def project_status() -> Status:
    """Look at the project; ConfigError where params.yaml cannot be used."""
    params = load_params()
    name = params.registered_name
    entries = ledger.read().of(name)
    last = _last_run(entries)
    return Status(
        services=tuple(_services()),
        schedules=tuple(one.document(datetime.now(UTC)) for one in read_schedules()),
        champion=_champion(name),
        deliveries=_deliveries(params),
        running=holder(),
        last_run=last,
        last_decision=_last_decision(entries, last),
    )


def _services() -> Iterator[ServiceStatus]:
    services = running_services()
    if services is None:
        return
    for name, url, health in (
        ("mlflow", services.mlflow, "/health"),
        ("prefect", services.prefect, "/api/health"),
    ):
        yield ServiceStatus(name=name, url=url, answers=answers(f"{url}{health}"))


def _deliveries(params: Params) -> Deliveries:
    state = inbox_state(params.data.name, params.inbox)
    return Deliveries(
        waiting=len(state.waiting),
        arriving=len(state.arriving),
        quarantined=len(state.quarantined),
    )


def _champion(name: str) -> ChampionStatus | None:
    found = _in_tracking(name) if os.environ.get("MLFLOW_TRACKING_URI") else _in_database(name)
    if found is None:
        return None
    return ChampionStatus(name=name, version=found.version, test=found.test)


def _in_database(name: str) -> Champion | None:
    try:
        return read_champion(name)
    except sqlite3.Error as error:
        raise PitchpipeError(
            f"{MLFLOW_DATABASE} cannot be read ({error}); `pitchpipe doctor` says what to do"
        ) from None


def _in_tracking(name: str) -> Champion | None:
    from flows.registry.listing import aliases, find_version  # noqa: PLC0415 - MLflow takes seconds
    from flows.tracking.store import open_tracking  # noqa: PLC0415

    tracking = open_tracking(name)
    version = aliases(tracking).get("champion")
    if version is None:
        return None
    return Champion(version, find_version(tracking, version).test)


def _last_run(entries: tuple[Entry, ...]) -> LastRun | None:
    last = last_retraining()
    if last is None:
        return None
    judged = [entry for entry in entries if entry.verdict is not None and entry.intends is None]
    mine = [entry for entry in judged if entry.after == last.version]
    return LastRun(
        finished=last.finished.isoformat(timespec="seconds"),
        verdict=last.verdict,
        version=last.version,
        champion=last.champion,
        reasons=mine[-1].reasons if mine else (),
    )


def _last_decision(entries: tuple[Entry, ...], last: LastRun | None) -> LastDecision | None:
    decisions = [entry for entry in entries if entry.action == "decision"]
    if not decisions or (last is not None and decisions[-1].time < last.finished):
        return None
    return LastDecision(time=decisions[-1].time, reason=decisions[-1].reasons[0])
