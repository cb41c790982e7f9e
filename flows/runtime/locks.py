"""Kernel locks between processes: held with a time limit, or looked at without being taken.

A lock ends with its holder, however it dies.
"""

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path

from filelock import FileLock, Timeout

from models.errors import BusyError


def is_held(path: Path) -> bool:
    """Whether a process holds a lock; the lock is taken for a moment to find out."""
    if not path.exists():
        return False
    try:
        with FileLock(path, timeout=0):
            return False
    except Timeout:
        return True


@contextlib.contextmanager
def hold(
    path: Path, *, seconds: float, busy: Callable[[], str], reentrant: bool = False
) -> Iterator[FileLock]:
    """Hold a lock while inside; reentrant: a thread that holds it may enter again.

    Raises BusyError, with the message of `busy`, where another process has it for so many seconds.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    lock = FileLock(path, is_singleton=reentrant)
    try:
        lock.acquire(timeout=seconds)
    except Timeout:
        raise BusyError(busy()) from None
    try:
        yield lock
    finally:
        lock.release()
