"""Identity of processes, and whether one is alive."""

import socket

import psutil

from models.config.base import Record

_SAME_START_SECONDS = 1.5
# psutil adds the ticks since boot to the time of boot, which the kernel gives in whole seconds:
# a clock that is adjusted moves every start by one. No process number is used again so soon.


class ProcessIdentity(Record):
    """A process, distinguished from a later one with the same number."""

    pid: int
    started: float
    """Start time, seconds since the epoch."""
    host: str

    @property
    def alive(self) -> bool:
        """Whether it still runs; a process of another host counts as alive, as it may be."""
        if self.host != socket.gethostname():
            return True
        try:
            process = psutil.Process(self.pid)
            same = abs(process.create_time() - self.started) < _SAME_START_SECONDS
            return bool(same and process.status() != psutil.STATUS_ZOMBIE)
        except psutil.NoSuchProcess:
            return False


def this_process() -> ProcessIdentity:
    """Return the identity of this process."""
    process = psutil.Process()
    return ProcessIdentity(
        pid=process.pid, started=process.create_time(), host=socket.gethostname()
    )
