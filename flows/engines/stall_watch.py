"""Notices a trial that makes no progress: for too long none of its epochs has ended."""

import contextlib
import time
from collections.abc import Callable

from models.training.worker import TrialJob
from models.trials import TrialFiles


class StalledTrialError(Exception):
    """No epoch of the trial ended within its job's limit."""


class StallWatch:
    """Measures the time since the last progress of a trial; a job without a limit has for ever.

    Progress is what its histories show, not only what its child sends: another process may train
    the trial (a cluster may give an order out twice, and the second waits), and one that is trained
    anew to a smaller budget (models.training.fit) sends nothing.
    """

    def __init__(self, job: TrialJob, *, clock: Callable[[], float] = time.monotonic) -> None:
        """clock: returns seconds."""
        self._directory, self._clock = job.directory, clock
        self._limit = None if job.timeout_minutes is None else 60 * job.timeout_minutes
        self.note_progress()

    def note_progress(self) -> None:
        """Begin to count anew."""
        self._since, self._written = self._clock(), self._history_bytes()

    @property
    def seconds_left(self) -> float | None:
        """Seconds until it has been too long, at least 0; None: there is no limit."""
        if self._limit is None:
            return None
        return max(0.0, self._since + self._limit - self._clock())

    def check(self) -> None:
        """Raise StalledTrialError, once no seconds are left and no history changed meanwhile."""
        if self.seconds_left != 0:
            return
        if self._history_bytes() == self._written:
            raise StalledTrialError
        self.note_progress()

    def _history_bytes(self) -> int:
        if self._limit is None:
            return 0
        total = 0
        for pattern in (TrialFiles.HISTORY, f"*/{TrialFiles.HISTORY}"):
            for path in self._directory.glob(pattern):
                with contextlib.suppress(FileNotFoundError):  # of a folder that is removed now
                    total += path.stat().st_size
        return total
