"""Processes: which one is it, is it alive, and dying with one's parent."""

import ctypes
import os
import signal
import socket
import sys

import psutil

from models.record import Record

_PR_SET_PDEATHSIG = 1
_SAME_START_SECONDS = 1.5
# psutil adds the ticks since boot to the time of boot, which the kernel gives in whole seconds:
# a clock that is set by a little moves every start by one. No process number is used again so soon.


class ProcessIdentity(Record):
    """A process told apart from a later one with the same number."""

    pid: int
    started: float
    """Start time, seconds since the epoch."""
    host: str

    @property
    def alive(self) -> bool:
        """Whether it still runs; a process of another host counts as alive: we cannot know."""
        if self.host != socket.gethostname():
            return True
        try:
            process = psutil.Process(self.pid)
            same = abs(process.create_time() - self.started) < _SAME_START_SECONDS
            return bool(same and process.status() != psutil.STATUS_ZOMBIE)
        except psutil.NoSuchProcess:
            return False


def this_process() -> ProcessIdentity:
    """Identify the running process."""
    process = psutil.Process()
    return ProcessIdentity(
        pid=process.pid, started=process.create_time(), host=socket.gethostname()
    )


def die_with_parent(parent: int | None = None) -> None:
    """Ask the kernel to kill this process when its parent dies (Linux; elsewhere: nothing).

    parent: the number the parent had when this process was made; if it is gone already, exit.
    """
    if not sys.platform.startswith("linux"):
        return
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if parent is not None and os.getppid() != parent:
        os._exit(1)
