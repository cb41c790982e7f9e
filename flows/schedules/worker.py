"""`python -m flows.schedules.worker`: the process that serves the schedules of `pitchpipe up`.

A worker of the project's pool, with a thread that keeps Prefect's deployments in line with
schedules.yaml. It ends with `up` (flows.runtime.supervisor), and so do its flow runs.
"""

import asyncio
import logging
import os
import signal
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from types import FrameType

import httpx
import psutil
from prefect.exceptions import PrefectException
from prefect.workers.process import ProcessWorker

from flows.runtime.prefect_records import close_orphans, project_tag
from flows.runtime.retraining_lock import only_retraining, owner
from flows.schedules.alias_guard import AliasGuard
from flows.schedules.config import SCHEDULES, Schedule, read_schedules
from flows.schedules.deployments import apply_schedules, run_missed, run_now
from flows.schedules.remote_watch import RemoteWatch
from flows.schedules.triggers import PendingTriggers, pending_triggers
from models.errors import BusyError, PitchpipeError

log = logging.getLogger(__name__)

GRACE_SECONDS = 1.5
"""Time for flow runs to end after SIGTERM."""


def main() -> None:
    """Serve the project's schedules until SIGTERM."""
    _log_to_standard_error()
    began = datetime.now(UTC)
    signal.signal(signal.SIGTERM, _end_flow_runs)
    watch = RemoteWatch()
    reconciler = DeploymentReconciler(began, watch)
    reconciler.step()
    threading.Thread(target=reconciler.keep, daemon=True).start()
    # Threads of their own: a registry, receiver or store that does not answer holds up no schedule.
    threading.Thread(target=watch.keep, daemon=True).start()
    threading.Thread(target=AliasGuard().keep, daemon=True).start()
    worker = ProcessWorker(work_pool_name=project_tag(), name="pitchpipe up")
    asyncio.run(worker.start(printer=log.info))


def _log_to_standard_error() -> None:
    handler = logging.StreamHandler()  # the root logger is Prefect's
    handler.setFormatter(logging.Formatter("%(asctime)s %(message)s"))
    log.addHandler(handler)
    log.setLevel(logging.INFO)


now = time.monotonic
RETRY_SECONDS, LONGEST_SECONDS = 300.0, 6 * 3600.0
"""First and longest pause before a trigger that led to nothing runs again; it doubles."""


@dataclass(frozen=True, slots=True)
class _LastRun:
    """The last run for a trigger; a run during another retraining's end leads to nothing."""

    triggers: PendingTriggers
    at: float
    """In seconds of `now`."""
    pause: float
    """Seconds until the same triggers run again."""

    @property
    def is_over(self) -> bool:
        return now() - self.at > self.pause


class DeploymentReconciler:
    """Reconciles Prefect with the project: orphaned flow runs, deployments, data triggers."""

    def __init__(self, began: datetime, remote: RemoteWatch | None = None) -> None:
        self._began = began
        self._remote = remote or RemoteWatch()
        self._closed = False
        self._applied: object = self  # differs from any state of the file
        self._ran_missed = False
        self._logged: dict[str, str] = {}
        """Step that fails -> its error, as it was logged last."""
        self._last_runs: dict[str, _LastRun] = {}

    def keep(self) -> None:
        """Reconcile once a second, for the life of the process."""
        while True:
            self.step()
            time.sleep(1)  # polling: no event covers all of these files

    def step(self) -> None:
        """Reconcile once; a step that fails is logged, and repeated in the next call."""
        for act in (self._close_orphans, self._apply, self._run_missed, self._run_triggered):
            self._attempt(act.__name__, act)

    def _attempt(self, title: str, act: Callable[[], None]) -> None:
        """Act; the same error is logged once, and does not stop other steps."""
        try:
            act()
        except (PitchpipeError, OSError, httpx.HTTPError, PrefectException) as error:
            message = str(error)
        except Exception as error:  # noqa: BLE001 - nobody would notice that the thread ended
            message = f"{type(error).__name__}: {error}"
        else:
            self._logged.pop(title, None)
            return
        if message != self._logged.get(title):
            log.warning("%s", message)
        self._logged[title] = message

    def _close_orphans(self) -> None:
        """Close flow runs of dead processes, which hold concurrency slots, when none retrains."""
        if self._closed:
            return
        try:
            with only_retraining():
                closed = close_orphans(except_for=None, begun_before=self._began)
        except BusyError:
            return  # its flow run is in progress, and not to be told from orphans
        self._closed = True
        if closed:
            log.info("%d flow runs of processes that died were closed", closed)

    def _apply(self) -> None:
        state = SCHEDULES.stat().st_mtime_ns if SCHEDULES.exists() else None
        if state != self._applied:
            apply_schedules(read_schedules())
            self._applied = state

    def _run_missed(self) -> None:
        if self._closed and not self._ran_missed:
            names = run_missed(read_schedules(), now=self._began)
            self._ran_missed = True
            if names:
                log.info("run for missed or crashed runs: %s", ", ".join(names))

    def _run_triggered(self) -> None:
        """Run the schedules on new data or drift that are triggered."""
        for schedule in read_schedules():
            if schedule.on is not None and schedule.active:
                self._attempt(
                    f"schedule {schedule.name}", partial(self._run_if_triggered, schedule)
                )

    def _run_if_triggered(self, schedule: Schedule) -> None:
        """Run a schedule where nobody retrains; again after a pause where that led to nothing."""
        pending = pending_triggers(schedule, remote=self._remote.waiting(schedule))
        before = self._last_runs.get(schedule.name)
        if not pending:
            self._last_runs.pop(schedule.name, None)
            return
        is_new = before is None or pending != before.triggers
        if owner() is not None or not (is_new or before is None or before.is_over):
            return
        run_now(schedule.name)
        pause = (
            RETRY_SECONDS if is_new or before is None else min(2 * before.pause, LONGEST_SECONDS)
        )
        self._last_runs[schedule.name] = _LastRun(pending, now(), pause)


def _end_flow_runs(_number: int, _frame: FrameType | None) -> None:
    """Terminate the flow runs, which finish their checkpoints, and exit.

    Prefect's own shutdown waits 8 s for its connections.
    """
    running = psutil.Process().children()
    for process in running:
        process.terminate()
    psutil.wait_procs(running, timeout=GRACE_SECONDS)
    sys.stdout.flush()
    os._exit(128 + signal.SIGTERM)


if __name__ == "__main__":
    main()
