"""Status of a project: one record for `pitchpipe status` and the page of `pitchpipe up`."""

import contextlib
import os
import sqlite3
from collections.abc import Iterator
from datetime import UTC, datetime
from functools import lru_cache

from pydantic import JsonValue, field_serializer

from flows.datasets.deliveries import inbox_state
from flows.records import ledger
from flows.records.champion import MLFLOW_DATABASE, Champion, is_own_database, read_champion
from flows.records.champion_score import ChampionScore, champion_score
from flows.records.judged import Judged, judged_last
from flows.records.ledger import LEDGER, Ledger
from flows.retraining.decide import LAST, last_retraining, other_default
from flows.runtime.prefect_server import SERVICES, running_services
from flows.runtime.retraining_lock import OWNER, Owner, owner
from flows.runtime.servers import answers
from flows.schedules.config import SCHEDULES, Schedule, read_schedules
from flows.search.progress import format_scores
from models.config import Params, Record
from models.credentials import without_credentials
from models.decision import Completed
from models.errors import PitchpipeError
from models.trials import Scores

_State = tuple[str, int, int, int]
"""Path, inode, time and size of a file."""


class ServiceStatus(Record):
    """A service of a running `pitchpipe up`."""

    name: str
    url: str
    answers: bool | None
    """Null: it was not asked."""


class ChampionStatus(Record):
    """The version in service."""

    name: str
    """Registered name."""
    version: int
    test: Scores | None
    """On the test split, when it was registered; null where the source does not know."""
    corrected: ChampionScore | None = None
    """Accuracy without the luck of its selection; null where none selected it, or it is not
    known."""


class LastRun(Completed):
    """The last retraining that reached a verdict, of any dataset."""

    reasons: tuple[str, ...]
    """Of the gate."""


class LastDecision(Record):
    """The last decision not to retrain."""

    time: str
    reason: str


class Deliveries(Record):
    """Number of deliveries in the inbox of the dataset, and in quarantine."""

    waiting: int
    arriving: int
    """Still being written."""
    quarantined: int


class Status(Record):
    """A project at a glance; null where a fact does not apply."""

    dataset: str
    name: str
    """Registered name that the facts below are about."""
    services: tuple[ServiceStatus, ...]
    schedules: tuple[Schedule, ...]
    champion: ChampionStatus | None
    foreign_move: str | None = None
    """Where the champion's alias points, and where it should, where these differ."""
    deliveries: Deliveries
    running: Owner | None
    """The retraining in progress."""
    last_run: LastRun | None
    last_decision: LastDecision | None
    """Null where a retraining came after it."""
    judged: tuple[Judged, ...] = ()
    """The challengers judged last, oldest first."""
    notice: str | None
    """Which dataset the last retraining was of, where params.yaml names another."""
    sources: dict[str, str]
    """Fact -> file or server that it was read from."""

    @field_serializer("schedules")
    def _documents(self, schedules: tuple[Schedule, ...]) -> list[dict[str, JsonValue]]:
        return [schedule.document(datetime.now(UTC)) for schedule in schedules]

    @property
    def facts(self) -> Iterator[tuple[str, str, str]]:
        """Title, text and source of each fact that people are shown."""
        champion, last, running = self.champion, self.last_run, self.running
        scores = f", test {format_scores(champion.test)}" if champion and champion.test else ""
        if champion and champion.corrected:
            scores += f"; {champion.corrected.sentence}"
        text = f"version {champion.version}{scores}" if champion else "none yet: pitchpipe run"
        yield "champion", f"{self.name} {text}", self.sources["champion"]
        if self.foreign_move is not None:
            yield "foreign move", self.foreign_move, self.sources["foreign_move"]
        if running is not None:
            began = f"since {running.since:%Y-%m-%d %H:%M:%S} UTC"
            text = f"process {running.process.pid} ({running.command}), {began}"
            yield "retraining now", text, self.sources["running"]
        if last is not None:
            of = f" of {last.name}" if last.name else ""
            text = (
                f"{last.finished:%Y-%m-%d %H:%M:%S} UTC: {last.verdict}, version {last.version}{of}"
            )
            yield "last retraining", text, self.sources["last_run"]
        if self.last_decision is not None:
            text = f"{self.last_decision.time}: {self.last_decision.reason}"
            yield "last decision", text, self.sources["last_decision"]
        if counts := {name: count for name, count in self.deliveries if count}:
            text = ", ".join(f"{count} {name}" for name, count in counts.items())
            yield "deliveries", text, self.sources["deliveries"]
        if self.notice is not None:
            yield "notice", self.notice, self.sources["last_run"]


def read_status(params: Params, *, ask_servers: bool) -> Status:
    """Read the status of the project, for the dataset and the registered name of the params.

    ask_servers: ask each service whether it answers, and a tracking server of the user for the
    champion: seconds, where one is away. Otherwise that champion is the ledger's.
    Raises ConfigError for unusable schedules, PitchpipeError for an unreadable database.
    """
    name, inbox = params.registered_name, inbox_state(params.data.name, params.inbox)
    last = _last_run(name)
    champion, source = _champion(name, ask_servers=ask_servers)
    return Status(
        dataset=params.data.name,
        name=name,
        services=tuple(_services(ask=ask_servers)),
        schedules=read_schedules(),
        champion=champion,
        foreign_move=_foreign_move(name, champion, asked=source != str(LEDGER)),
        deliveries=Deliveries(
            waiting=len(inbox.waiting),
            arriving=len(inbox.arriving),
            quarantined=len(inbox.quarantined),
        ),
        running=owner(),
        last_run=last,
        last_decision=_last_decision(name, last),
        judged=_judged(name),
        notice=other_default(),
        sources={
            "services": str(SERVICES),
            "schedules": str(SCHEDULES),
            "champion": source,
            "foreign_move": str(LEDGER),
            "deliveries": inbox.path,
            "running": str(OWNER),
            "last_run": str(LAST),
            "last_decision": str(LEDGER),
            "judged": str(LEDGER),
        },
    )


def _services(*, ask: bool) -> Iterator[ServiceStatus]:
    services = running_services()
    if services is None:
        return
    for name, url, health in (
        ("mlflow", services.mlflow, "/health"),
        ("prefect", services.prefect, "/api/health"),
    ):
        answered = answers(f"{url}{health}") if ask else None
        yield ServiceStatus(name=name, url=url, answers=answered)


def _champion(name: str, *, ask_servers: bool) -> tuple[ChampionStatus | None, str]:
    """Return the champion and where it was read."""
    if is_own_database():
        found, source = _in_database(name), str(MLFLOW_DATABASE)
    elif ask_servers:
        uri = os.environ["MLFLOW_TRACKING_URI"]
        found, source = _in_tracking(name), without_credentials(uri)
    else:
        version, source = _ledger().champion_of(name), str(LEDGER)
        found = None if version is None else Champion(version, None)
    if found is None:
        return None, source
    version, test = found.version, found.test
    corrected = _corrected(name, version, test.accuracy, _ledger_state()) if test else None
    return ChampionStatus(name=name, version=version, test=test, corrected=corrected), source


def _foreign_move(name: str, champion: ChampionStatus | None, *, asked: bool) -> str | None:
    """Say where the alias differs from the ledger; asked: the champion is the alias's, not its."""
    entries = _ledger().of(name)
    alias = champion.version if champion else None
    if not asked:
        alias = ledger.alias_seen(entries)
    recorded = ledger.recorded_champion(entries)
    if alias == recorded or ledger.unfinished(entries) is not None:  # a move is under way
        return None
    points = "no version" if alias is None else f"version {alias}"
    way_out = "" if recorded is None else f", `pitchpipe rollback --to {recorded}` undoes it"
    return (
        f"alias champion points to {points}, the ledger's champion is {recorded or 'none'}: "
        f"`pitchpipe adopt --reason R` accepts that{way_out}"
    )


@lru_cache(maxsize=1)
def _corrected(
    name: str, version: int, published: float, _state: _State | None
) -> ChampionScore | None:
    """Read the evidence once for each state of the ledger."""
    return champion_score(_ledger().of(name), version, published=published)


def _in_database(name: str) -> Champion | None:
    with _database_errors():
        return read_champion(name)


def _judged(name: str) -> tuple[Judged, ...]:
    with _database_errors():
        return judged_last(name, _ledger().of(name))


@contextlib.contextmanager
def _database_errors() -> Iterator[None]:
    """Raise PitchpipeError where the database inside cannot be read."""
    try:
        yield
    except sqlite3.Error as error:
        raise PitchpipeError(
            f"{MLFLOW_DATABASE} cannot be read ({error}); `pitchpipe doctor` shows how to repair it"
        ) from None


def _in_tracking(name: str) -> Champion | None:
    from flows.registry.listing import aliases, find_version  # noqa: PLC0415 - MLflow takes seconds
    from flows.tracking.store import open_tracking  # noqa: PLC0415

    tracking = open_tracking(name)
    version = aliases(tracking).get("champion")
    return None if version is None else Champion(version, find_version(tracking, version).test)


def _last_run(name: str) -> LastRun | None:
    last = last_retraining()
    if last is None:
        return None
    verdicts = [
        entry
        for entry in _ledger().of(last.name or name)
        if entry.verdict is not None and entry.intends is None and entry.after == last.version
    ]
    return LastRun(**dict(last), reasons=verdicts[-1].reasons if verdicts else ())


def _last_decision(name: str, last: LastRun | None) -> LastDecision | None:
    decisions = [entry for entry in _ledger().of(name) if entry.action == "decision"]
    if not decisions:
        return None
    time, reason = decisions[-1].time, decisions[-1].reasons[0]
    if last is not None and datetime.fromisoformat(time) < last.finished:
        return None
    return LastDecision(time=time, reason=reason)


def _ledger() -> Ledger:
    state = _ledger_state()
    return Ledger((), ()) if state is None else _read_ledger(state)


def _ledger_state() -> _State | None:
    if not LEDGER.exists():
        return None
    state = LEDGER.stat()
    return (str(LEDGER.resolve()), state.st_ino, state.st_mtime_ns, state.st_size)


@lru_cache(maxsize=1)
def _read_ledger(_state: _State) -> Ledger:
    """Read the ledger once for each state of its file: the page asks twice a second."""
    return ledger.read()
