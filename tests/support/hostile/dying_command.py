"""The command line in a process that dies, is starved or is limited where a test says so.

    python dying_command.py '{"die_at": 17}' promote 2

Also imported by the warm server of warm_commands.py, which forks instead of starting anew.
"""

import ctypes
import json
import os
import resource
import signal
import sys
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

WRITES = ("os.rename", "os.remove", "os.mkdir", "os.rmdir", "os.truncate", "os.link", "fcntl.flock")
"""Events of the interpreter that change what another process sees; `open` for writing besides."""
O_WRITING = os.O_WRONLY | os.O_RDWR
MOMENT_SECONDS = 1.0


@dataclass(frozen=True, slots=True)
class Fate:
    """What befalls a command."""

    die_at: int | None = None
    """kill -9 of itself before its n-th event that changes a file, from 1."""
    die_after: float | None = None
    """kill -9 of itself after so many seconds."""
    interrupt_after: str | None = None
    """Ctrl-C a moment after a file of this name was put into its place."""
    file_bytes: int | None = None
    """No file may grow beyond; writing more fails as on a full disk (EFBIG for ENOSPC)."""
    memory_bytes: int | None = None
    """Address space of the process."""
    unprivileged: bool = False
    """Permissions of files count for it, also where a superuser runs the tests."""
    faulty_trials: bool = False
    """Trials go wrong as their seeds say (faulty_trials.py)."""
    clock_back: float = 0.0
    """Seconds by which `time.time` and `datetime.now` are behind."""
    count_into: str | None = None
    """File in which the number of its events is written at the end."""


class _Events:
    """Counts what changes files; kills the process at one of them."""

    def __init__(self, fate: Fate) -> None:
        self.fate, self.count, self.pid = fate, 0, os.getpid()

    def heard(self, event: str, arguments: tuple[object, ...]) -> None:
        if os.getpid() != self.pid:  # a child of the command has a life of its own
            return
        if event in WRITES or (event == "open" and _writes(arguments)):
            self.tick()
        if event == "os.rename" and Path(str(arguments[1])).name == self.fate.interrupt_after:
            threading.Timer(MOMENT_SECONDS, os.kill, [self.pid, signal.SIGINT]).start()

    def tick(self) -> None:
        self.count += 1
        if self.count == self.fate.die_at:
            os.kill(self.pid, signal.SIGKILL)


def _writes(arguments: tuple[object, ...]) -> bool:
    _, mode, flags = arguments
    if isinstance(mode, str):
        return any(letter in mode for letter in "wax+")
    return isinstance(flags, int) and bool(flags & O_WRITING)


def suffer(fate: Fate) -> None:
    """Lay the fate on this process."""
    if (fate.die_at, fate.count_into, fate.interrupt_after) != (None, None, None):
        _listen(fate)
    if fate.die_after is not None:
        _die_later(fate.die_after)
    if fate.file_bytes is not None:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)  # the write fails, as on a full disk
        resource.setrlimit(resource.RLIMIT_FSIZE, (fate.file_bytes, fate.file_bytes))
    if fate.memory_bytes is not None:
        resource.setrlimit(resource.RLIMIT_AS, (fate.memory_bytes, fate.memory_bytes))
    if fate.unprivileged:
        _drop_capabilities()
    if fate.faulty_trials:
        _make_trials_faulty()
    if fate.clock_back:
        real, back = time.time, fate.clock_back
        time.time = lambda: real() - back


def _drop_capabilities() -> None:
    """Give up all capabilities for good (capset(2), version 3: two words of 32 for each set)."""
    if os.geteuid() == 0:
        header = (ctypes.c_uint32 * 2)(0x20080522, 0)
        libc = ctypes.CDLL(None, use_errno=True)
        if libc.capset(header, (ctypes.c_uint32 * 6)()) != 0:
            raise OSError(ctypes.get_errno(), "capset")


def _make_trials_faulty() -> None:
    import faulty_trials  # noqa: PLC0415 - imports torch

    import flows.engines.local  # noqa: PLC0415 - the command has it already

    flows.engines.local.run = faulty_trials.run  # type: ignore[attr-defined] # it imports it


def _listen(fate: Fate) -> None:
    import atexit  # noqa: PLC0415 - only where somebody counts

    events = _Events(fate)
    sys.addaudithook(events.heard)
    _count_commits(events)
    _count_fsyncs(events)
    if fate.count_into is not None:
        target = fate.count_into
        atexit.register(
            lambda: os.write(os.open(target, os.O_CREAT | os.O_WRONLY), str(events.count).encode())
        )


def _count_fsyncs(events: _Events) -> None:
    """A write is on disk, or is not, around its fsync; the interpreter tells nobody of it."""
    real = os.fsync

    def fsync(descriptor: int) -> None:
        events.tick()
        real(descriptor)

    os.fsync = fsync  # type: ignore[assignment] # called with numbers here


def _count_commits(events: _Events) -> None:
    """MLflow's transactions: before each statement and each commit."""
    from sqlalchemy import event  # noqa: PLC0415 - second to import
    from sqlalchemy.engine import Engine  # noqa: PLC0415

    def statement(_c: object, _r: object, text: str, *_: object) -> None:
        if not text.lstrip().upper().startswith(("SELECT", "PRAGMA")):
            events.tick()

    event.listen(Engine, "before_cursor_execute", statement)
    event.listen(Engine, "commit", lambda _: events.tick())


def _die_later(seconds: float) -> None:
    def die() -> None:
        time.sleep(seconds)
        os.kill(os.getpid(), signal.SIGKILL)

    threading.Thread(target=die, daemon=True).start()


def command(fate: Fate, arguments: Sequence[str]) -> None:
    """Run `pitchpipe ...` under a fate; exits as it does."""
    from flows.cli.main import main  # noqa: PLC0415 - the warm server has it already

    suffer(fate)
    main(arguments)


if __name__ == "__main__":
    command(Fate(**json.loads(sys.argv[1])), sys.argv[2:])
