"""What a trial itself can go wrong by; everything else is a fault of ours and surfaces."""

import contextlib
import re
import signal
import time
import typing
from collections.abc import Callable, Iterator, Sequence
from multiprocessing.process import BaseProcess
from typing import Literal

import torch
from torch.multiprocessing.spawn import ProcessException, ProcessExitedException

from models.errors import PitchpipeError

FaultKind = Literal["diverged", "out of memory", "error", "killed"]
PEER_SECONDS = 10.0
"""That a process which lost another waits for their parent, who was told at once, to end it."""


class TrialFault(Exception):  # noqa: N818 - it is data soon: a TrialFailure
    """The trial cannot be trained; the message says why in one line."""

    def __init__(self, kind: FaultKind, reason: str) -> None:
        super().__init__(f"{kind}: {reason}")
        self.kind: FaultKind = kind
        self.reason = reason

    @classmethod
    def told(cls, traceback: str) -> "TrialFault | None":
        """Find the fault that another process ended with in its printed traceback."""
        found = re.search(r"TrialFault: (diverged|out of memory|error): (.*)", traceback)
        if found is None:
            return None
        kind, reason = found.groups()
        return cls(typing.cast(FaultKind, kind), reason)


@contextlib.contextmanager
def network_faults() -> Iterator[None]:
    """Turn what a network raises into a TrialFault; errors of files and of ours pass through."""
    try:
        yield
    except (TrialFault, PitchpipeError, OSError):
        raise
    except Exception as error:
        kind: FaultKind = "out of memory" if _memory_ran_out(error) else "error"
        raise TrialFault(kind, _one_line(error)) from error


@contextlib.contextmanager
def peers_may_be_lost() -> Iterator[None]:
    """Let a process that lost another of its trial wait to be ended by their parent.

    Were it to fail as well, it might be taken for the cause.
    """
    try:
        yield
    except RuntimeError:
        time.sleep(PEER_SECONDS)
        raise


@contextlib.contextmanager
def faults_of_processes(processes: Callable[[], Sequence[BaseProcess]]) -> Iterator[None]:
    """Raise the TrialFault that one of a trial's processes ended with, or died by; all have ended.

    A process that was killed is the cause, whatever those said that lost it.
    """
    try:
        yield
    except ProcessException as error:
        fault = _death(processes()) or TrialFault.told(str(error))
        if fault is None and isinstance(error, ProcessExitedException):
            fault = TrialFault("killed", f"{error.msg}; is memory short?")
        if fault is None:
            raise
        raise fault from error


def _death(processes: Sequence[BaseProcess]) -> TrialFault | None:
    for number, process in enumerate(processes, start=1):
        code = process.exitcode or 0
        if code < 0 and code != -signal.SIGTERM:  # by which the parent ends the others
            name = signal.Signals(-code).name
            reason = f"process {number} of {len(processes)} was ended by {name}; is memory short?"
            return TrialFault("killed", reason)
    return None


def _memory_ran_out(error: Exception) -> bool:
    # The CPU allocator raises a bare RuntimeError.
    return isinstance(error, MemoryError | torch.OutOfMemoryError) or (
        isinstance(error, RuntimeError) and "allocate memory" in str(error)
    )


def _one_line(error: Exception) -> str:
    text = " ".join(str(error).split())
    return f"{type(error).__name__}: {text}"[:500]
