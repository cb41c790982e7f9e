"""`python -m flows.schedule_worker`: what `pitchpipe up` runs to serve the schedules.

A worker of the project's pool, and beside it a thread that keeps Prefect's deployments as
schedules.yaml says. It ends with `up` (flows.bound), and with it the flow runs it started.
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
from flows.schedules.config import SCHEDULES, Schedule, read_schedules
from flows.schedules.deployments import apply_schedules, ask_now, take_up
from flows.schedules.triggers import News, news
from models.errors import BusyError, PitchpipeError

log = logging.getLogger(__name__)

GRACE_SECONDS = 1.5
"""For flow runs to end in, when asked to."""


def main() -> None:
    """Serve the project's schedules until told to end."""
    _log_to_standard_error()
    began = datetime.now(UTC)
    signal.signal(signal.SIGTERM, _end_flow_runs)
    keeper = Keeper(began)
    keeper.step()
    threading.Thread(target=keeper.keep, daemon=True).start()
    worker = ProcessWorker(work_pool_name=project_tag(), name="pitchpipe up")
    asyncio.run(worker.start(printer=log.info))


def _log_to_standard_error() -> None:
    handler = logging.StreamHandler()  # the root logger is Prefect's
    handler.setFormatter(logging.Formatter("%(asctime)s %(message)s"))
    log.addHandler(handler)
    log.setLevel(logging.INFO)


now = time.monotonic
NEWS_SECONDS, LONGEST_SECONDS = 300.0, 6 * 3600.0
"""After which news that nothing came of is asked about again: each time twice as long, at most."""


@dataclass(frozen=True, slots=True)
class _Asked:
    """What was asked about; who delivered while a retraining was ending was turned away."""

    about: News
    at: float
    """In seconds of `now`."""
    pause: float
    """Seconds until it is asked about again."""

    @property
    def is_over(self) -> bool:
        return now() - self.at > self.pause


class Keeper:
    """Keeps Prefect true to the project: the dead are closed, deployments are as the file says."""

    def __init__(self, began: datetime) -> None:
        self._began = began
        self._closed = False
        self._seen: object = self  # not what a file may be
        self._taken_up = False
        self._said: dict[str, str] = {}
        """What failed -> why, as it was said last."""
        self._asked: dict[str, _Asked] = {}

    def keep(self) -> None:
        """Look once a second, for the life of the process."""
        while True:
            self.step()
            time.sleep(1)  # files tell nobody that they changed

    def step(self) -> None:
        """Do what is to be done now; what fails is said, and tried again."""
        for act in (self._close, self._apply, self._take_up, self._watch):
            self._attempt(act.__name__, act)

    def _attempt(self, title: str, act: Callable[[], None]) -> None:
        """Act; a failure is said once, and holds up nothing else."""
        try:
            act()
        except (PitchpipeError, OSError, httpx.HTTPError, PrefectException) as error:
            said = str(error)
        except Exception as error:  # noqa: BLE001 - a thread that ended would be missed by nobody
            said = f"{type(error).__name__}: {error}"
        else:
            self._said.pop(title, None)
            return
        if said != self._said.get(title):
            log.warning("%s", said)
        self._said[title] = said

    def _close(self) -> None:
        """Close what the dead left Running, which also holds their slots, once nobody retrains."""
        if self._closed:
            return
        try:
            with only_retraining():
                closed = close_orphans(except_for=None, begun_before=self._began)
        except BusyError:
            return  # its flow run is open with good reason, and cannot be told from the others
        self._closed = True
        if closed:
            log.info("%d flow runs were left open by processes that died; closed", closed)

    def _apply(self) -> None:
        state = SCHEDULES.stat().st_mtime_ns if SCHEDULES.exists() else None
        if state != self._seen:
            apply_schedules(read_schedules())
            self._seen = state

    def _take_up(self) -> None:
        if self._closed and not self._taken_up:
            names = take_up(read_schedules(), now=self._began)
            self._taken_up = True
            if names:
                log.info("taken up again: %s", ", ".join(names))

    def _watch(self) -> None:
        """Ask for the schedules that wait for news, when there is any and nobody retrains."""
        for schedule in read_schedules():
            if schedule.on is not None and schedule.active:
                self._attempt(f"schedule {schedule.name}", partial(self._look, schedule))

    def _look(self, schedule: Schedule) -> None:
        """Ask for one schedule where there is news; again where that came to nothing."""
        there, before = news(schedule), self._asked.get(schedule.name)
        if not there:
            self._asked.pop(schedule.name, None)
            return
        is_new = before is None or there != before.about
        if owner() is not None or not (is_new or before is None or before.is_over):
            return
        ask_now(schedule.name)
        pause = NEWS_SECONDS if is_new or before is None else min(2 * before.pause, LONGEST_SECONDS)
        self._asked[schedule.name] = _Asked(there, now(), pause)


def _end_flow_runs(_number: int, _frame: FrameType | None) -> None:
    """Ask the flow runs to end, so that they finish their checkpoints; then end at once.

    Prefect's own way down waits for its connections: 8 s.
    """
    running = psutil.Process().children()
    for process in running:
        process.terminate()
    psutil.wait_procs(running, timeout=GRACE_SECONDS)
    sys.stdout.flush()
    os._exit(128 + signal.SIGTERM)


if __name__ == "__main__":
    main()
