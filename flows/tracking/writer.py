"""The thread that delivers events to MLflow, through outages; nothing waits for it."""

import logging
import queue
import threading
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from itertools import groupby

from mlflow.exceptions import MlflowException

from flows.tracking.events import AnyEvent, EpochEnded
from flows.tracking.projection import Projection
from flows.tracking.store import is_outage
from models.credentials import without_credentials

log = logging.getLogger(__name__)

FIRST_PAUSE, LONGEST_PAUSE = 0.25, 4.0
"""Seconds between attempts while MLflow is down; each pause doubles the one before."""
MOST_ATTEMPTS = 12
"""Failures of one event, while MLflow answers other requests, before it is dropped."""


class Writer:
    """Delivers events to a projection in order, from one thread of its own."""

    def __init__(self, projection: Projection, *, answers: Callable[[], bool]) -> None:
        """answers: whether MLflow is reachable; called where an event keeps failing."""
        self.refused: list[str] = []
        self._projection = projection
        self._answers = answers
        self._queue: queue.Queue[AnyEvent | threading.Event | None] = queue.Queue()
        self._waiting = 0
        self._failing = False
        self._counting = threading.Lock()
        self._give_up = threading.Event()
        self._retry_now = threading.Event()
        self._thread = threading.Thread(target=self._run, name="mlflow mirror", daemon=True)
        self._thread.start()

    @property
    def waiting(self) -> int:
        """Events not yet delivered."""
        return self._waiting

    @property
    def failing(self) -> bool:
        """Whether MLflow was not reached when it was tried last."""
        return self._failing

    def put(self, event: AnyEvent) -> None:
        """Queue an event."""
        with self._counting:
            self._waiting += 1
            self._queue.put(event)

    def flush(self, timeout: float) -> bool:
        """Wait until all events queued so far are delivered; False where time is up first."""
        if not self._thread.is_alive():
            return self._waiting == 0
        reached = threading.Event()
        self._queue.put(reached)
        self._retry_now.set()
        return reached.wait(timeout)

    def stop(self, *, timeout: float = 2.0) -> None:
        """End the thread, waiting at most timeout seconds; undelivered events stay queued."""
        self._give_up.set()
        self._retry_now.set()
        self._queue.put(None)
        # A thread inside a request to a dead server is not waited for: it is a daemon.
        self._thread.join(timeout)

    def _run(self) -> None:
        for batch in iter(self._take, []):
            for group in _groups(batch):
                if self._give_up.is_set():
                    return
                self._handle(group)

    def _take(self) -> list[AnyEvent | threading.Event]:
        """Everything queued, after waiting for the first; empty: stop."""
        batch = []
        item = self._queue.get()
        while item is not None:
            batch.append(item)
            try:
                item = self._queue.get_nowait()
            except queue.Empty:
                break
        return batch

    def _handle(self, group: Sequence[AnyEvent | threading.Event]) -> None:
        first = group[0]
        if isinstance(first, threading.Event):
            first.set()
            return
        epochs = [event for event in group if isinstance(event, EpochEnded)]
        tell = (
            partial(self._projection.tell_epochs, epochs)
            if epochs
            else partial(self._projection.tell, first)
        )
        if self._deliver(tell):
            with self._counting:
                self._waiting -= len(group)

    def _deliver(self, tell: Callable[[], None]) -> bool:
        """Call tell until it succeeds while MLflow is down; False where the thread was stopped.

        What MLflow refuses is dropped and noted.
        """
        pause, attempts = FIRST_PAUSE, 0
        while not self._give_up.is_set():
            attempts += 1
            try:
                tell()
                self._failing = False
            except (MlflowException, OSError) as error:
                self._failing = is_outage(error)
                if is_outage(error) and not (attempts >= MOST_ATTEMPTS and self._answers()):
                    if attempts == 1:
                        log.warning(
                            "MLflow is not reached, training goes on: %s", error_line(error)
                        )
                    self._retry_now.wait(pause)
                    self._retry_now.clear()
                    pause = min(2 * pause, LONGEST_PAUSE)
                    continue
                self._refuse(error)
            except Exception as error:  # noqa: BLE001 - one bad event must not end the mirror
                self._refuse(error)
            return True
        return False

    def _refuse(self, error: Exception) -> None:
        if not self.refused:
            log.warning("MLflow refuses what it is told: %s", error_line(error))
        self.refused.append(error_line(error))


def _groups(
    batch: Sequence[AnyEvent | threading.Event],
) -> Iterator[Sequence[AnyEvent | threading.Event]]:
    """Adjacent epochs of one trial together, everything else alone."""
    for key, group in groupby(batch, key=lambda e: e.key if isinstance(e, EpochEnded) else None):
        if key is None:
            yield from ([event] for event in group)
        else:
            yield list(group)


def error_line(error: Exception) -> str:
    """An error in one line, without passwords."""
    said = without_credentials(" ".join(str(error).split()))
    return f"{type(error).__name__}: {said[:300]}"
