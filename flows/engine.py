"""Where trials run: child processes of a preloaded fork server, one trial each.

A fork server starts a child in 0.02 s where spawning costs 8 s of imports, and a crash, a timeout
or a kill hurts its own trial only.
"""

import contextlib
import logging
import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from multiprocessing import connection, forkserver
from multiprocessing.context import ForkServerProcess
from pathlib import Path
from types import FrameType

from pydantic import TypeAdapter

from models.errors import PitchpipeError
from models.files import write_text
from models.training.environment import ALLOCATOR_ENVIRONMENT
from models.training.worker import Complaint, Work, run
from models.trials import (
    EpochRecord,
    Outcome,
    TrialFailure,
    TrialFiles,
    TrialSpec,
    read_history,
    read_outcome,
)

log = logging.getLogger(__name__)

_MESSAGE: TypeAdapter[EpochRecord | Complaint] = TypeAdapter(EpochRecord | Complaint)

MOST_STARTS = 3
"""A worker that dies without a word is replaced; the trial goes on from its last epoch."""

PRELOAD = ["models.training.fit", "models.training.worker", "flows.cli"]
"""Training, and the module that `__main__` of the console script imports again in a child."""


class InterruptedTrialError(PitchpipeError):
    """The engine was told to stop while the trial was training; its last epoch is kept."""


@dataclass(frozen=True, slots=True)
class TrialJob:
    """One trial to be trained up to a budget."""

    spec: TrialSpec
    directory: Path
    prepared: Path
    budget: int
    label: str
    """What differs from the other trials, for people."""


def warm_up() -> None:
    """Start the fork server; it imports what training needs while the caller does other things."""
    forked = multiprocessing.get_context("forkserver")
    forked.set_forkserver_preload(PRELOAD)
    before = {name: os.environ.get(name) for name in ALLOCATOR_ENVIRONMENT}
    os.environ.update(ALLOCATOR_ENVIRONMENT)
    # Inherited: Ctrl-C while it imports would print its traceback over our message.
    interrupt = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        forkserver.ensure_running()
    finally:
        signal.signal(signal.SIGINT, interrupt)
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


class LocalEngine:
    """Trains trials in child processes; `train` blocks, so call it from a thread per core."""

    def __init__(self) -> None:
        self._children: set[ForkServerProcess] = set()
        self._lock = threading.Lock()
        self._stopping = False

    def train(self, job: TrialJob, on_epoch: Callable[[EpochRecord], None]) -> Outcome:
        """Train the job's trial in a child of its own and return what its directory says.

        A child that is killed is replaced, three starts in all; then the trial has failed.
        Raises InterruptedTrialError once `stop` was called.
        """
        for _ in range(MOST_STARTS):
            exit_code = self._run_child(job, on_epoch)
            outcome = read_outcome(job.directory, job.budget)
            if exit_code == 0 and outcome is not None:
                return outcome
            if self._stopping:
                raise InterruptedTrialError(f"{job.label}: stopped; run again to go on")
            log.warning("worker of trial %s ended with %s; replaced", job.label, exit_code)
        return _give_up(job, exit_code)

    def _run_child(self, job: TrialJob, on_epoch: Callable[[EpochRecord], None]) -> int | None:
        receiver, sender = multiprocessing.Pipe(duplex=False)
        with receiver:
            child = self._start(job, sender)
            sender.close()
            try:
                for record in _epochs(receiver):
                    on_epoch(record)
                child.join()
                return child.exitcode
            finally:
                with self._lock:
                    self._children.discard(child)

    def _start(self, job: TrialJob, sender: connection.Connection) -> ForkServerProcess:
        work = Work(
            spec=job.spec,
            directory=str(job.directory),
            prepared=str(job.prepared),
            budget=job.budget,
        )
        context = multiprocessing.get_context("forkserver")
        # Not a daemon, which may have no children: a trial on several devices has them.
        child = context.Process(target=run, args=(work.model_dump_json(), sender))
        with self._lock:
            if self._stopping:
                raise InterruptedTrialError(f"{job.label}: stopped; run again to go on")
            child.start()
            self._children.add(child)
        return child

    def stop(self) -> None:
        """End every child; what their last epochs left is whole, so that the next run goes on."""
        with self._lock:
            self._stopping = True
            for child in self._children:
                child.terminate()

    @contextlib.contextmanager
    def stopped_by_signals(self) -> Iterator[None]:
        """While inside, Ctrl-C and SIGTERM end the children, then raise in the main thread."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        handlers = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}

        def handle(number: int, _frame: FrameType | None) -> None:
            self.stop()
            if number == signal.SIGTERM:
                raise SystemExit(128 + number)
            raise KeyboardInterrupt

        for number in handlers:
            signal.signal(number, handle)
        try:
            yield
        finally:
            for number, handler in handlers.items():
                signal.signal(number, handler)


def _epochs(receiver: connection.Connection) -> Iterator[EpochRecord]:
    """Yield each epoch until the child closes its end, by finishing or by dying.

    Raises PitchpipeError with what the child complains of.
    """
    while True:
        try:
            message = receiver.recv_bytes()
        except (EOFError, OSError):  # OSError: killed while it wrote, part of a message came
            return
        record = _MESSAGE.validate_json(message)
        if isinstance(record, Complaint):
            raise PitchpipeError(record.complaint)
        yield record


def _give_up(job: TrialJob, exit_code: int | None) -> TrialFailure:
    killed = exit_code is not None and exit_code < 0
    how = signal.Signals(-exit_code).name if killed and exit_code else f"exit code {exit_code}"
    failure = TrialFailure(
        key=job.spec.key,
        config=job.spec.config,
        budget=job.budget,
        epochs=len(read_history(job.directory)),
        reason=f"its worker died {MOST_STARTS} times, last by {how}; is memory short?",
        kind="killed",
    )
    write_text(job.directory / TrialFiles.FAILURE, failure.model_dump_json(indent=2))
    return failure
