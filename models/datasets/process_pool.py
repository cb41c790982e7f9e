"""Cores: work on pieces done in processes of their own, in order, which end when we end."""

import itertools
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from typing import TypeVar

from models.processes import children_context, usable_cores, watch_parent

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
    cores = usable_cores()
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
    context = children_context()
    waiting: deque[tuple[Piece, Future[Result]]] = deque()
    # An idle worker waits for ever on a pipe that it holds itself.
    with ProcessPoolExecutor(cores, mp_context=context, initializer=watch_parent) as pool:
        for piece in pieces:
            waiting.append((piece, pool.submit(act, piece)))
            if len(waiting) > 2 * cores:
                oldest, future = waiting.popleft()
                yield oldest, future.result()
        for left, future in waiting:
            yield left, future.result()
