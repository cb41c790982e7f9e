"""The guard of the champions' aliases in `pitchpipe up`: a foreign move is noticed and told.

The project's own database is looked at without MLflow, whose import takes seconds; it is imported
where something is amiss, or where the registry is a server.
"""

import logging
import sqlite3
import sys
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from datetime import UTC, datetime

from prefect.events import emit_event

from flows.records import ledger
from flows.records.champion import is_own_database, read_champion
from flows.records.ledger import Entry, Ledger, alias_seen, unfinished
from flows.retraining.notify import send_notification
from flows.retraining.notify_moves import entry_message
from flows.schedules.config import read_schedules
from models.config import GuardParams, NotifyParams, Params, load_params
from models.errors import PitchpipeError

log = logging.getLogger(__name__)

EVERY_SECONDS = 15.0
TOLD = frozenset({"foreign", "restore"})
"""Actions of the ledger that only a guard writes."""


def emit(entry: Entry) -> None:
    """Emit Prefect's event, on which an automation may act."""
    emit_event(
        event=f"pitchpipe.champion.{entry.action}",
        resource={
            "prefect.resource.id": f"pitchpipe.champion.{entry.name}",
            "prefect.resource.name": entry.name,
        },
        payload=entry.model_dump(mode="json", by_alias=True),
    )


def say(line: str) -> None:
    """Write a line that `pitchpipe up` shows."""
    sys.stdout.write(f"guard: {line}\n")
    sys.stdout.flush()


class AliasGuard:
    """Looks at the champion's alias of each registered name; whatever fails is tried again."""

    def __init__(self, *, event: Callable[[Entry], None] = emit) -> None:
        self._event = event
        self._told = ledger.read().head.length
        """Number of the last entry that needs no telling."""
        self._said: dict[str, str] = {}
        """Name -> why its alias was not looked at or not put back, as it was said last."""

    def keep(self) -> None:
        """Look until the process ends."""
        while True:
            self.step()
            time.sleep(EVERY_SECONDS)  # polling: no event tells of a move in MLflow

    def step(self) -> None:
        """Look at every alias once, and tell what was found."""
        params, known = _params_by_name(), ledger.read()
        for name in sorted({*params, *(entry.name for entry in known.entries)}):
            guard = params[name].guard if name in params else GuardParams()
            try:
                _look(name, known, guard)
            except PitchpipeError as error:
                self._say_once(name, str(error))
            except Exception as error:  # noqa: BLE001 - nobody would notice that the thread ended
                self._say_once(name, f"{type(error).__name__}: {error}")
            else:
                self._said.pop(name, None)
        self._tell_new(params)

    def _say_once(self, name: str, message: str) -> None:
        if self._said.get(name) != message:
            say(f"alias champion of {name}: {message}")
        self._said[name] = message

    def _tell_new(self, params: Mapping[str, Params]) -> None:
        """Tell what the ledger has been told since: a move is told though MLflow failed after."""
        for entry in ledger.read().entries:
            if entry.number <= self._told:
                continue
            self._told = entry.number
            if entry.action in TOLD:
                notify = params[entry.name].notify if entry.name in params else NotifyParams()
                self._tell(entry, notify)

    def _tell(self, entry: Entry, notify: NotifyParams) -> None:
        say("; ".join(entry.reasons))
        try:
            self._event(entry)
        except Exception as error:  # noqa: BLE001 - of Prefect's client: anything; it is told elsewhere
            log.warning("no event of %s was emitted: %s", entry.name, type(error).__name__)
        send_notification(entry_message(entry), notify)


def _params_by_name() -> dict[str, Params]:
    """Params by registered name: those of params.yaml, then of schedules; unusable ones are not."""
    found: dict[str, Params] = {}
    with suppress(PitchpipeError, OSError):
        params = load_params()
        found[params.registered_name] = params
    with suppress(PitchpipeError, OSError):
        for schedule in read_schedules():
            with suppress(PitchpipeError, OSError):
                params = schedule.request().params()
                found.setdefault(params.registered_name, params)
    return found


def _look(name: str, known: Ledger, guard: GuardParams) -> None:
    """Record a foreign move of an alias, and undo it where that is asked for."""
    if is_own_database() and not _amiss(_alias(name), known.of(name), guard):
        return
    from flows.registry.listing import aliases  # noqa: PLC0415 - MLflow takes seconds
    from flows.registry.promotion import foreign  # noqa: PLC0415
    from flows.tracking.store import open_tracking  # noqa: PLC0415

    tracking = open_tracking(name)
    # A server that does not answer must not be waited for with the lock in hand.
    if not is_own_database() and not _amiss(
        aliases(tracking).get("champion"), known.of(name), guard
    ):
        return
    foreign.note_foreign_move(tracking)
    if guard.restore:
        foreign.restore_champion(tracking, now=datetime.now(UTC), most_a_day=guard.restores_per_day)


def _alias(name: str) -> int | None:
    try:
        found = read_champion(name)
    except sqlite3.Error as error:
        raise PitchpipeError(f"MLflow's database cannot be read: {error}") from None
    return None if found is None else found.version


def _amiss(alias: int | None, entries: tuple[Entry, ...], guard: GuardParams) -> bool:
    """Whether there may be something to do, as far as can be seen without the lock."""
    if unfinished(entries) is not None:
        return True
    known = alias_seen(entries)
    return alias != known or (guard.restore and alias != ledger.recorded_champion(entries))
