"""What waits in the remote inboxes of schedules, listed by a thread of `pitchpipe up`.

A listing takes a request for each thousand objects, and up to a minute where a store is away: no
schedule waits for it.
"""

import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass

from flows.datasets.remote_inbox import RemoteDelivery, not_fetched, remote_state
from flows.schedules.config import Schedule, read_schedules
from models.datasets.sources.paths import shown
from models.errors import PitchpipeError, some_of

EVERY_SECONDS, AT_MOST_BUSY = 15.0, 0.1
"""Pause between looks; longer where they take long, for each request costs money: at most that
share of the time is spent looking."""


def say(line: str) -> None:
    """Write a line that `pitchpipe up` shows."""
    sys.stdout.write(f"inbox: {line}\n")
    sys.stdout.flush()


@dataclass(frozen=True, slots=True)
class Seen:
    """What a look at a schedule's remote inbox found."""

    dataset: str
    """Of the schedule's params."""
    waiting: tuple[RemoteDelivery, ...]
    """Complete deliveries that were not fetched when they were listed."""


class RemoteWatch:
    """Lists the remote inboxes; whatever fails is said once and tried again."""

    def __init__(self) -> None:
        self._waiting: Mapping[str, Seen] = {}
        """Of each schedule, what was seen last."""
        self._said: dict[str, str] = {}
        """Schedule -> why not all of its inbox is listed or fetched, as it was said last."""

    def waiting(self, schedule: Schedule) -> tuple[str, ...]:
        """Return the names of the deliveries that wait, without those fetched since."""
        seen, remote = self._waiting.get(schedule.name), schedule.remote
        if remote is None or seen is None or not seen.waiting:
            return ()
        return tuple(shown(one.name) for one in not_fetched(remote, seen.dataset, seen.waiting))

    def keep(self) -> None:
        """Look until the process ends."""
        while True:
            began = time.monotonic()
            self.step()
            took = time.monotonic() - began
            time.sleep(max(EVERY_SECONDS, took / AT_MOST_BUSY))  # polling: no event reaches us

    def step(self) -> None:
        """List each remote inbox once, of the schedules that wait for data."""
        found = dict[str, Seen]()
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

    def _look(self, schedule: Schedule) -> Seen:
        assert schedule.remote is not None
        params = schedule.request().params()
        state = remote_state(schedule.remote, params.data.name, params.inbox)
        self._say_once(schedule.name, "; ".join(some_of(state.refused)))
        return Seen(params.data.name, state.waiting)

    def _say_once(self, schedule: str, message: str) -> None:
        if message and self._said.get(schedule) != message:
            say(f"schedule {schedule}: {message}")
        self._said[schedule] = message
