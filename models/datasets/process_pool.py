"""Cores: work on pieces done in processes of their own, in order, which end when we end."""

import itertools
import multiprocessing
import os
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from typing import TypeVar

HERE_SECONDS = 1.0
"""Work in this process at first: starting others costs about as much."""

Piece = TypeVar("Piece")
Result = TypeVar("Result")


def on_all_cores(
    act: Callable[[Piece], Result], pieces: Iterable[Piece]
) -> Iterator[tuple[Piece, Result]]:
    """Yield each piece with its result, in their order; after a second's work on all cores.

    Results travel between processes; of the pieces, two for each core are held at once.
    """
    coming = iter(pieces)
    cores = len(os.sched_getaffinity(0))
    until = time.monotonic() + HERE_SECONDS
    for piece in coming:
        if cores > 1 and time.monotonic() > until:
            yield from _in_processes(act, itertools.chain([piece], coming), cores)
        else:
            yield piece, act(piece)


def _in_processes(
    act: Callable[[Piece], Result], pieces: Iterable[Piece], cores: int
) -> Iterator[tuple[Piece, Result]]:
    # Forked processes would inherit threads and locks of whoever calls.
    context = multiprocessing.get_context("forkserver")
    waiting: deque[tuple[Piece, Future[Result]]] = deque()
    with ProcessPoolExecutor(cores, mp_context=context, initializer=_end_with_parent) as pool:
        for piece in pieces:
            waiting.append((piece, pool.submit(act, piece)))
            if len(waiting) > 2 * cores:
                oldest, future = waiting.popleft()
                yield oldest, future.result()
        for left, future in waiting:
            yield left, future.result()


def _end_with_parent() -> None:
    """Die when the parent does: a pool's idle worker waits for ever on a pipe it holds itself."""
    parent = multiprocessing.parent_process()
    assert parent is not None

    def watch() -> None:
        parent.join()
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()
