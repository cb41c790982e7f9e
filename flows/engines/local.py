"""Where trials run: behind one small interface, here in children of a preloaded fork server.

Clusters are in flows/engines. A fork server starts a child in hundredths of a second where
spawning costs seconds of imports (bench/startup.py), and a crash, a timeout or a kill hurts its own
trial only.
"""

import contextlib
import logging
import multiprocessing
import signal
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from multiprocessing import connection, forkserver
from multiprocessing.context import ForkServerProcess
from pathlib import Path
from types import FrameType
from typing import Protocol

from pydantic import TypeAdapter

from flows.engines.devices import DevicePool, cuda_devices
from flows.runtime.environment import environment_variables
from models.errors import PitchpipeError
from models.files import write_text
from models.training.worker import ALLOCATOR_ENVIRONMENT, Complaint, Work, run
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

PRELOAD = ["flows.engines.preload", "flows.cli.main"]
"""Training, and the module that `__main__` of the console script imports again in a child."""


class InterruptedTrialError(PitchpipeError):
    """The engine was told to stop while the trial was training; its last epoch is kept."""

    @classmethod
    def of(cls, label: str) -> "InterruptedTrialError":
        """Say which trial, and the way on."""
        return cls(f"{label}: stopped; run again to go on")


@dataclass(frozen=True, slots=True)
class TrialJob:
    """One trial to be trained up to a budget."""

    spec: TrialSpec
    directory: Path
    prepared: Path
    budget: int
    label: str
    """What differs from the other trials, for people."""

    def work(self, gpus: tuple[str, ...] = ()) -> Work:
        """The job as it travels to whoever does it."""
        return Work(
            spec=self.spec,
            directory=str(self.directory),
            prepared=str(self.prepared),
            budget=self.budget,
            cuda_devices=gpus,
        )


def warm_up() -> None:
    """Start the fork server; it imports what training needs while the caller does other things."""
    forked = multiprocessing.get_context("forkserver")
    forked.set_forkserver_preload(PRELOAD)
    # Inherited: Ctrl-C while it imports would print its traceback over our message.
    interrupt = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        with environment_variables(ALLOCATOR_ENVIRONMENT):
            forkserver.ensure_running()
    finally:
        signal.signal(signal.SIGINT, interrupt)


class Engine(Protocol):
    """What trains trials; `train` blocks, so it is called from a thread for each trial at once."""

    def train(self, job: TrialJob, on_epoch: Callable[[EpochRecord], None]) -> Outcome:
        """Train the job's trial and return what its directory says.

        A worker that dies is replaced, three starts in all; then the trial has failed. Raises
        InterruptedTrialError once `stop` was called.
        """
        ...

    def stop(self) -> None:
        """End every trial; what their last epochs left is whole, so that the next run goes on."""
        ...


class LocalEngine:
    """Trains trials in child processes."""

    def __init__(self) -> None:
        self._children: set[ForkServerProcess] = set()
        # Entered again by a second Ctrl-C while the first is ending the children.
        self._lock = threading.RLock()
        self._stopping = False
        self._pool: DevicePool | None = None

    def _gpus(self) -> DevicePool:
        """One pool for all threads; counting devices takes a tenth of a second."""
        with self._lock:
            self._pool = self._pool or DevicePool(cuda_devices())
            return self._pool

    def train(self, job: TrialJob, on_epoch: Callable[[EpochRecord], None]) -> Outcome:
        """Train the job's trial in a child of its own, on GPUs of its own where it asks for one."""
        if job.spec.device == "cpu":
            return self._train(job, on_epoch, gpus=())
        with self._gpus().taken(job.spec.config.devices) as gpus:
            return self._train(job, on_epoch, gpus=gpus)

    def _train(
        self, job: TrialJob, on_epoch: Callable[[EpochRecord], None], *, gpus: tuple[str, ...]
    ) -> Outcome:
        for _ in range(MOST_STARTS):
            exit_code = self._run_child(job.work(gpus), on_epoch, label=job.label)
            outcome = read_outcome(job.directory, job.budget)
            if exit_code == 0 and outcome is not None:
                return outcome
            if self._stopping:
                raise InterruptedTrialError.of(job.label)
            log.warning("worker of trial %s ended with %s; replaced", job.label, exit_code)
        return record_worker_deaths(job, how=_in_words(exit_code))

    def _run_child(
        self, work: Work, on_epoch: Callable[[EpochRecord], None], *, label: str
    ) -> int | None:
        receiver, sender = multiprocessing.Pipe(duplex=False)
        with receiver:
            child = self._start(work, sender, label=label)
            sender.close()
            try:
                for record in _epochs(receiver):
                    on_epoch(record)
                child.join()
                return child.exitcode
            finally:
                with self._lock:
                    self._children.discard(child)

    def _start(self, work: Work, sender: connection.Connection, *, label: str) -> ForkServerProcess:
        context = multiprocessing.get_context("forkserver")
        # Not a daemon, which may have no children: a trial on several devices has them.
        child = context.Process(target=run, args=(work.model_dump_json(), sender))
        with self._lock:
            if self._stopping:
                raise InterruptedTrialError.of(label)
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
def stop_on_signals(engine: Engine) -> Iterator[None]:
    """While inside, Ctrl-C and SIGTERM end the engine's trials, then raise in the main thread."""
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


def _in_words(exit_code: int | None) -> str:
    killed = exit_code is not None and exit_code < 0
    return signal.Signals(-exit_code).name if killed and exit_code else f"exit code {exit_code}"


def record_worker_deaths(job: TrialJob, *, how: str) -> TrialFailure:
    """Write down, and return, that a trial's workers died time and again."""
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
