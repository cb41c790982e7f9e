"""What a trial itself can go wrong by; everything else is a fault of ours and surfaces."""

import contextlib
import re
import typing
from collections.abc import Iterator
from typing import Literal

import torch

from models.errors import PitchpipeError

FaultKind = Literal["diverged", "out of memory", "error"]


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


def _memory_ran_out(error: Exception) -> bool:
    # The CPU allocator raises a bare RuntimeError.
    return isinstance(error, MemoryError | torch.OutOfMemoryError) or (
        isinstance(error, RuntimeError) and "allocate memory" in str(error)
    )


def _one_line(error: Exception) -> str:
    text = " ".join(str(error).split())
    return f"{type(error).__name__}: {text}"[:500]
