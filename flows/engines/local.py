"""The interface of engines, and the local one: children of a preloaded fork server.

A fork server starts a child in hundredths of a second, where spawning costs seconds of imports
(bench/startup.py), and a crash, a timeout or a kill affects one trial only.
"""

import contextlib
import logging
import multiprocessing
import signal
import threading
from collections.abc import Callable, Iterator
from multiprocessing import connection, forkserver, resource_tracker
from multiprocessing.context import ForkServerContext, ForkServerProcess, SpawnProcess
from types import FrameType
from typing import Literal, Protocol

from pydantic import TypeAdapter

from flows.engines.devices import DevicePool, cuda_devices
from flows.engines.stall_watch import StalledTrialError, StallWatch
from flows.runtime.environment import environment_variables
from models.errors import PitchpipeError
from models.files import write_text
from models.processes import children_context
from models.training.worker import ALLOCATOR_ENVIRONMENT, Complaint, TrialJob, run
from models.trials import (
    EpochRecord,
    Outcome,
    TrialFailure,
    TrialFiles,
    TrialResult,
    read_history,
    read_outcome,
)

log = logging.getLogger(__name__)

_MESSAGE: TypeAdapter[EpochRecord | Complaint] = TypeAdapter(EpochRecord | Complaint)

MOST_STARTS = 3
"""A worker that dies is replaced, and the trial continues from its last epoch."""
KILLED_SECONDS = 10
"""To wait for the end of a child that was killed; the kernel may be waiting for a disk."""

PRELOAD = ["flows.engines.preload", "flows.cli.main"]
"""Training, and the module that a child imports again as `__main__` of the console script."""


class InterruptedTrialError(PitchpipeError):
    """The engine was stopped while the trial was training; its last epoch is kept."""

    @classmethod
    def of(cls, label: str) -> "InterruptedTrialError":
        """Name the trial, and say how to continue."""
        return cls(f"{label}: stopped; run again to go on")


def warm_up() -> None:
    """Start the fork server, which imports what training needs in the background.

    Where there is none (macOS), children import that themselves.
    """
    forked = children_context()
    if not isinstance(forked, ForkServerContext):
        return
    forked.set_forkserver_preload(PRELOAD)
    # Inherited by the server: Ctrl-C while it imports would print a traceback over our message.
    interrupt = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        with environment_variables(ALLOCATOR_ENVIRONMENT):
            forkserver.ensure_running()
    finally:
        signal.signal(signal.SIGINT, interrupt)


class Engine(Protocol):
    """Trains trials. `train` blocks, and is called from one thread for each trial at a time."""

    def train(self, job: TrialJob, on_epoch: Callable[[EpochRecord], None]) -> Outcome:
        """Train the job's trial, calling on_epoch after each epoch, and return its outcome.

        A worker that dies is replaced, MOST_STARTS times in all; then the trial has failed. One in
        which no epoch ends within the job's limit is killed, and has failed at once. Raises
        InterruptedTrialError once `stop` was called.
        """
        ...

    def stop(self) -> None:
        """End every trial; each can be continued from its last epoch."""
        ...


class LocalEngine:
    """Trains trials in child processes."""

    def __init__(self) -> None:
        self._children: set[ForkServerProcess | SpawnProcess] = set()
        self._stopping = False
        self._pool_lock = threading.Lock()
        self._pool: DevicePool | None = None

    def _gpus(self) -> DevicePool:
        """Return the pool of all threads, made once: counting devices takes a tenth of a second."""
        with self._pool_lock:
            self._pool = self._pool or DevicePool(cuda_devices())
            return self._pool

    def train(self, job: TrialJob, on_epoch: Callable[[EpochRecord], None]) -> Outcome:
        """Train the job's trial in a child, with GPUs to itself where its device is `cuda`."""
        if job.spec.device == "cpu":
            return self._train(job, on_epoch)
        with self._gpus().hold(job.spec.config.devices) as gpus:
            return self._train(job.model_copy(update={"cuda_devices": gpus}), on_epoch)

    def _train(self, job: TrialJob, on_epoch: Callable[[EpochRecord], None]) -> Outcome:
        for _ in range(MOST_STARTS):
            try:
                exit_code = self._run_child(job, on_epoch)
            except StalledTrialError:
                return _outcome_of_stalled(job)
            outcome = read_outcome(job.directory, job.budget)
            if exit_code == 0 and outcome is not None:
                return outcome
            if self._stopping:
                raise InterruptedTrialError.of(job.label)
            log.warning("worker of trial %s ended with %s; replaced", job.label, exit_code)
        return record_worker_deaths(job, how=_describe(exit_code))

    def _run_child(self, job: TrialJob, on_epoch: Callable[[EpochRecord], None]) -> int | None:
        receiver, sender = multiprocessing.Pipe(duplex=False)
        with receiver:
            child = self._start(job, sender)
            sender.close()
            watch = StallWatch(job)
            try:
                for record in _epochs(receiver, watch):
                    on_epoch(record)
                return _end_of(child, watch)
            except StalledTrialError:
                child.kill()  # what hangs may not hear SIGTERM
                child.join(KILLED_SECONDS)
                raise
            finally:
                self._children.discard(child)

    def _start(
        self, job: TrialJob, sender: connection.Connection
    ) -> ForkServerProcess | SpawnProcess:
        context = children_context()
        # No daemon, which may have no children: a trial on several devices has them.
        child = context.Process(target=run, args=(job.model_dump_json(), sender))
        if self._stopping:
            raise InterruptedTrialError.of(job.label)
        with _interrupt_kept_from_children():
            child.start()
        self._children.add(child)
        # `stop` may have looked through the children before this one was among them.
        if self._is_stopping():
            child.terminate()
        return child

    def _is_stopping(self) -> bool:
        """Whether `stop` was called, by now and by any thread."""
        return self._stopping

    def stop(self) -> None:
        """End every child; its trial can be continued from the last epoch.

        Called by handlers of signals, so it waits for no lock: a thread that starts a child may
        wait for what the interrupted main thread holds, such as the lock of an import.
        """
        self._stopping = True
        for child in tuple(self._children):
            child.terminate()


@contextlib.contextmanager
def _interrupt_kept_from_children() -> Iterator[None]:
    """Ctrl-C is for the parent: a child that imports would print its traceback over our message.

    A child of the fork server ignores it as that does, any other inherits what is blocked.
    """
    resource_tracker.ensure_running()  # it unblocks the signal when it starts
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


@contextlib.contextmanager
def stop_on_signals(engine: Engine) -> Iterator[None]:
    """Let Ctrl-C and SIGTERM end the engine's trials while inside, and raise in the main thread."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    handlers = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}

    def handle(number: int, _frame: FrameType | None) -> None:
        engine.stop()
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


def _epochs(receiver: connection.Connection, watch: StallWatch) -> Iterator[EpochRecord]:
    """Yield each epoch until the child closes its end, by finishing or by dying.

    Raises PitchpipeError with the message of a Complaint, StalledTrialError where none comes.
    """
    while True:
        try:
            while not receiver.poll(watch.seconds_left):
                watch.check()
            message = receiver.recv_bytes()
        except (EOFError, OSError):  # OSError: killed while it wrote, part of a message came
            return
        watch.note_progress()
        record = _MESSAGE.validate_json(message)
        if isinstance(record, Complaint):
            raise PitchpipeError(record.complaint)
        yield record


def _end_of(child: ForkServerProcess | SpawnProcess, watch: StallWatch) -> int | None:
    """Wait for the exit code; raise StalledTrialError where the child does not end in time."""
    child.join(watch.seconds_left)
    if child.exitcode is None:
        raise StalledTrialError
    return child.exitcode


def _describe(exit_code: int | None) -> str:
    killed = exit_code is not None and exit_code < 0
    return signal.Signals(-exit_code).name if killed and exit_code else f"exit code {exit_code}"


def record_worker_deaths(job: TrialJob, *, how: str) -> TrialFailure:
    """Write and return the failure of a trial whose workers died MOST_STARTS times."""
    reason = f"its worker died {MOST_STARTS} times, last by {how}; is memory short?"
    return _record_failure(job, "killed", reason)


def _outcome_of_stalled(job: TrialJob) -> Outcome:
    """Return the result of a child that hung after it had written one; else write the failure."""
    outcome = read_outcome(job.directory, job.budget)
    if isinstance(outcome, TrialResult):
        return outcome
    return _record_failure(
        job,
        "timed out",
        f"search.trial_timeout_minutes {job.timeout_minutes:g}: no epoch ended within it, and the "
        "trial was killed; raise it, or see what the network waits for",
    )


def _record_failure(
    job: TrialJob, kind: Literal["killed", "timed out"], reason: str
) -> TrialFailure:
    failure = TrialFailure(
        key=job.spec.key,
        config=job.spec.config,
        budget=job.budget,
        epochs=len(read_history(job.directory)),
        reason=reason,
        kind=kind,
        limit_minutes=job.timeout_minutes if kind == "timed out" else None,
    )
    write_text(job.directory / TrialFiles.FAILURE, failure.model_dump_json(indent=2))
    return failure
