"""What waits in the remote inboxes of schedules, listed by a thread of `pitchpipe up`.

A listing takes a request for each thousand objects, and up to a minute where a store is away: no
schedule waits for it.
"""

import sys
import time
from collections.abc import Mapping

from flows.datasets.remote_inbox import RemoteDelivery, not_fetched, remote_state
from flows.schedules.config import Schedule, read_schedules
from models.datasets.sources.paths import shown
from models.errors import PitchpipeError

EVERY_SECONDS, AT_MOST_BUSY = 15.0, 0.1
"""Pause between looks; longer where they take long, for each request costs money: at most that
share of the time is spent looking."""


def say(line: str) -> None:
    """Write a line that `pitchpipe up` shows."""
    sys.stdout.write(f"inbox: {line}\n")
    sys.stdout.flush()


class RemoteWatch:
    """Lists the remote inboxes; whatever fails is said once and tried again."""

    def __init__(self) -> None:
        self._waiting: Mapping[str, tuple[RemoteDelivery, ...]] = {}
        """Schedule -> complete deliveries that were not fetched when they were listed."""
        self._said: dict[str, str] = {}
        """Schedule -> why not all of its inbox is listed or fetched, as it was said last."""

    def waiting(self, schedule: Schedule) -> tuple[str, ...]:
        """Return the names of the deliveries that wait, without those fetched since."""
        listed, remote = self._waiting.get(schedule.name, ()), schedule.remote
        if remote is None or not listed:
            return ()
        return tuple(shown(one.name) for one in not_fetched(remote, listed))

    def keep(self) -> None:
        """Look until the process ends."""
        while True:
            began = time.monotonic()
            self.step()
            took = time.monotonic() - began
            time.sleep(max(EVERY_SECONDS, took / AT_MOST_BUSY))  # polling: no event reaches us

    def step(self) -> None:
        """List each remote inbox once, of the schedules that wait for data."""
        found = dict[str, tuple[RemoteDelivery, ...]]()
        try:
            schedules = read_schedules()
        except (PitchpipeError, OSError):
            return  # the reconciler says so
        for schedule in schedules:
            if schedule.on is not None and schedule.active and schedule.inbox is not None:
                try:
                    found[schedule.name] = self._look(schedule)
                except PitchpipeError as error:
                    self._say_once(schedule.name, str(error))
                except Exception as error:  # noqa: BLE001 - nobody would notice that the thread ended
                    self._say_once(schedule.name, f"{type(error).__name__}: {error}")
        self._waiting = found

    def _look(self, schedule: Schedule) -> tuple[RemoteDelivery, ...]:
        assert schedule.remote is not None
        state = remote_state(schedule.remote, schedule.request().params().inbox)
        self._say_once(schedule.name, "; ".join(state.refused))
        return state.waiting

    def _say_once(self, schedule: str, message: str) -> None:
        if message and self._said.get(schedule) != message:
            say(f"schedule {schedule}: {message}")
        self._said[schedule] = message
