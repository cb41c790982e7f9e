"""Ending a process when another one ends; a module of its own, for it is imported in a moment."""

import multiprocessing
import os
import threading
from collections.abc import Callable


def _exit() -> None:
    os._exit(1)


def end_when(ended: Callable[[], object], *, end: Callable[[], object] = _exit) -> None:
    """Call `ended` in a thread, and `end` this process once it returns."""

    def watch() -> None:
        ended()
        end()

    threading.Thread(target=watch, daemon=True).start()


def end_with_parent() -> None:
    """End this process of multiprocessing once the one that started it has ended, however it did.

    The kernel tells by closing a pipe, so that it works on every platform and whatever lies between
    the two, such as a fork server.
    """
    parent = multiprocessing.parent_process()
    assert parent is not None
    end_when(parent.join)
