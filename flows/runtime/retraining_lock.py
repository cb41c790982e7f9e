"""One retraining at a time, whoever started it; a lock that a kill releases."""

import contextlib
import shlex
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

from filelock import FileLock, Timeout

from models.config import Record, read_record
from models.errors import BusyError
from models.files import write_text
from models.processes import ProcessIdentity, this_process

LOCK = Path("mlruns/retraining.lock")
OWNER = Path("mlruns/retraining.owner.json")


class Owner(Record):
    """Who holds the lock."""

    process: ProcessIdentity
    command: str
    since: datetime


@contextlib.contextmanager
def only_retraining(*, wait_seconds: float = 0.5) -> Iterator[bool]:
    """Hold the project's retraining lock; a process that holds it may enter again.

    Yields whether the last holder died with it: what it left open is still to be closed.
    Raises BusyError with the holder's process where another holds it. The kernel releases the lock
    when its holder dies, however it dies.
    """
    LOCK.parent.mkdir(exist_ok=True)
    # Whoever asks `holder` has it for a moment; that is no retraining.
    lock = FileLock(LOCK, is_singleton=True)
    try:
        lock.acquire(timeout=wait_seconds)
    except Timeout:
        raise BusyError(_busy_message()) from None
    try:
        died = lock.lock_counter == 1 and OWNER.exists()
        if lock.lock_counter == 1:
            write_text(OWNER, _owner().model_dump_json())
        yield died
    finally:
        if lock.lock_counter == 1:
            OWNER.unlink(missing_ok=True)
        lock.release()


def holder() -> Owner | None:
    """Return the process that is retraining now; None where nobody is."""
    if not LOCK.exists():
        return None
    try:
        with FileLock(LOCK, timeout=0):
            return None
    except Timeout:
        return _read_owner()


def owner() -> Owner | None:
    """Return the process that wrote its name at the lock and lives, without touching the lock."""
    last = _read_owner()
    return last if last is not None and last.process.alive else None


def _owner() -> Owner:
    command = shlex.join([Path(sys.argv[0]).name, *sys.argv[1:]])
    return Owner(process=this_process(), command=command, since=datetime.now(UTC))


def _read_owner() -> Owner | None:
    # Between taking the lock and writing its name, the holder is not known.
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
