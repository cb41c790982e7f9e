"""The retraining lock: one retraining at a time in a project."""

import contextlib
import shlex
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

from flows.runtime.locks import hold, is_held
from models.config import Record, read_record
from models.files import write_text
from models.processes import ProcessIdentity, this_process

LOCK = Path("mlruns/retraining.lock")
OWNER = Path("mlruns/retraining.owner.json")


class Owner(Record):
    """The holder of the lock."""

    process: ProcessIdentity
    command: str
    since: datetime


@contextlib.contextmanager
def only_retraining(*, wait_seconds: float = 0.5) -> Iterator[bool]:
    """Hold the project's retraining lock; a thread that holds it may enter again.

    wait_seconds: another process that calls `holder` has it for a moment. Yields whether the last
    holder died with it: what it left open is still to be closed. Raises BusyError, naming the
    holder's process, where another one holds it.
    """
    with hold(LOCK, seconds=wait_seconds, busy=_busy_message, reentrant=True) as lock:
        if lock.lock_counter > 1:
            yield False
            return
        died = OWNER.exists()
        write_text(OWNER, _this_owner().model_dump_json())
        try:
            yield died
        finally:
            OWNER.unlink(missing_ok=True)


def holder() -> Owner | None:
    """Return the process that is retraining now; None where there is none."""
    return _read_owner() if is_held(LOCK) else None


def owner() -> Owner | None:
    """Return the living process whose name is at the lock, without taking the lock."""
    last = _read_owner()
    return last if last is not None and last.process.alive else None


def _this_owner() -> Owner:
    command = shlex.join([Path(sys.argv[0]).name, *sys.argv[1:]])
    return Owner(process=this_process(), command=command, since=datetime.now(UTC))


def _read_owner() -> Owner | None:
    # The holder is unknown between taking the lock and writing its name.
    return read_record(OWNER, Owner)


def _busy_message() -> str:
    owner = _read_owner()
    if owner is None:
        return "another retraining has just begun here; wait for it, then run again"
    return (
        f"a retraining runs already: process {owner.process.pid} on {owner.process.host} "
        f"({owner.command}), since {owner.since:%Y-%m-%d %H:%M:%S} UTC; "
        "wait for it, or stop it, then run again"
    )
