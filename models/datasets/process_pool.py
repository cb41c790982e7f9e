"""Parallel map over pieces of work, in order, on processes that end with this one."""

import itertools
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from typing import TypeVar

from models.lifetime import end_with_parent
from models.processes import children_context, usable_cores

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
