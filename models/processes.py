"""Processes: identity, liveness, usable cores, starting of children, a parallel map."""

import itertools
import multiprocessing
import os
import socket
import sys
import tempfile
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from multiprocessing import util
from multiprocessing.context import ForkServerContext, SpawnContext
from typing import TypeVar

import psutil

from models.errors import PitchpipeError
from models.lifetime import end_with_parent
from models.record import Record

LINUX = sys.platform == "linux"
"""Whether libraries can be forked after their import."""
SHORTEST_SOCKET_BYTES = 104
"""Longest path of a socket, with its closing zero: 104 on macOS, 108 on Linux."""
_ONE_AT_A_TIME = threading.Lock()
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


def usable_cores() -> int:
    """Count the cores that this process may use: those of its affinity where the system has one."""
    if hasattr(os, "sched_getaffinity"):  # macOS has none
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def children_context() -> ForkServerContext | SpawnContext:
    """Return the context that starts children: a fork server on Linux, elsewhere a new interpreter.

    macOS: `import numpy` already calls Apple's Accelerate there (numpy/__init__.py, _mac_os_check),
    whose threads do not outlive a fork, so a server that has it imported may not fork.
    """
    if not LINUX:
        return multiprocessing.get_context("spawn")
    _choose_folder_of_sockets()
    return multiprocessing.get_context("forkserver")


def short_temporary_folder(room: int) -> str:
    """Return the folder of temporary files, or /tmp where a socket's path would be too long in it.

    Raises PitchpipeError where /tmp cannot be written either.
    """
    usual = tempfile.gettempdir()
    length = len(os.fsencode(usual)) + room
    if length < SHORTEST_SOCKET_BYTES:
        return usual
    for folder in ("/tmp", "/var/tmp"):  # noqa: S108 - mkdtemp makes what we use there, for us alone
        if os.access(folder, os.W_OK | os.X_OK):
            return folder
    raise PitchpipeError(
        f"TMPDIR {usual}: sockets there have paths of {length} bytes, and the system allows "
        f"{SHORTEST_SOCKET_BYTES - 1}; set TMPDIR to a shorter folder"
    )


def _choose_folder_of_sockets() -> None:
    """Let multiprocessing keep its sockets where their paths are short enough (gh-132124).

    It makes its folder once in a process and remembers it; Python 3.14 looks at the length itself.
    """
    with _ONE_AT_A_TIME:
        usual = tempfile.gettempdir()
        tempfile.tempdir = short_temporary_folder(len("/pymp-12345678/listener-12345678"))
        try:
            util.get_temp_dir()
        finally:
            tempfile.tempdir = usual


HERE_SECONDS = 1.0
"""Time to work in this process before others are started, which costs about as much."""

Piece = TypeVar("Piece")
Result = TypeVar("Result")


def map_on_cores(
    act: Callable[[Piece], Result], pieces: Iterable[Piece]
) -> Iterator[tuple[Piece, Result]]:
    """Yield each piece with its result, in order; after HERE_SECONDS on all cores.

    Pieces and results travel between processes; two pieces for each core are held at once.
    """
    coming = iter(pieces)
    cores = usable_cores()
    until = time.monotonic() + HERE_SECONDS
    for piece in coming:
        if cores > 1 and time.monotonic() > until:
            yield from _map_in_processes(act, itertools.chain([piece], coming), cores)
        else:
            yield piece, act(piece)


def _map_in_processes(
    act: Callable[[Piece], Result], pieces: Iterable[Piece], cores: int
) -> Iterator[tuple[Piece, Result]]:
    # Forked processes would inherit threads and locks of the caller.
    context = children_context()
    waiting: deque[tuple[Piece, Future[Result]]] = deque()
    # An idle worker of a pool whose process was killed waits for ever on a pipe it holds itself.
    with ProcessPoolExecutor(cores, mp_context=context, initializer=end_with_parent) as pool:
        for piece in pieces:
            waiting.append((piece, pool.submit(act, piece)))
            if len(waiting) > 2 * cores:
                oldest, future = waiting.popleft()
                yield oldest, future.result()
        for left, future in waiting:
            yield left, future.result()
