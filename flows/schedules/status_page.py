"""What `pitchpipe up` shows: a page that stays on a terminal, lines where there is none."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Self

from rich.console import Console, Group
from rich.live import Live
from rich.table import Table

from flows.schedules.config import Schedule
from flows.schedules.snapshot import Standing, standing

ENDING = "Ctrl-C stops all."
_TOLD = ("decision: ", "inbox: ", "tried again: ")
"""How lines of the schedules begin that are shown as they come."""


class StatusPage:
    """Links, next ticks, last verdict, champion; and each decision and delivery, as a line."""

    def __init__(self, links: Mapping[str, str], decisions: Path) -> None:
        self._links = links
        self._news = _NewLines(decisions)
        self._console = Console(markup=False, highlight=False, soft_wrap=True)
        self._live: Live | None = None
        self._shown = ""

    def __enter__(self) -> Self:
        if self._console.is_terminal:
            self._live = Live(console=self._console, auto_refresh=False)
            self._live.start()
        else:
            for title, link in self._links.items():
                self._console.print(f"{title:<9}{link}")
        self.refresh()
        if self._live is None:
            self._console.print(ENDING)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._live is not None:
            self._live.stop()

    def refresh(self) -> None:
        """Show what is new: decisions and deliveries always, the rest where it changed."""
        for line in self._news.read():
            if line.startswith(_TOLD):
                self._console.print(line)
        now, stands = datetime.now(UTC), standing()
        if self._live is not None:
            self._live.update(_page(self._links, stands, now), refresh=True)
        elif (lines := _lines(stands)) != self._shown:
            self._shown = lines
            self._console.print(lines)


class _NewLines:
    """The lines that are appended to a file from now on."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._offset = path.stat().st_size if path.exists() else 0

    def read(self) -> list[str]:
        """Return the whole lines that came since the last time."""
        if not self._path.exists():
            return []
        with self._path.open("rb") as file:
            file.seek(self._offset)
            whole, _, _ = file.read().rpartition(b"\n")
        self._offset += len(whole) + 1 if whole else 0
        return whole.decode(errors="replace").split("\n") if whole else []


def _page(links: Mapping[str, str], stands: Standing, now: datetime) -> Group:
    facts = Table(box=None, show_header=False, padding=(0, 2, 0, 0))
    for title, text in (*links.items(), *_facts(stands)):
        facts.add_row(title, text)
    parts = [facts]
    if stands.schedules:
        parts.append(schedules_table(stands.schedules, now))
    return Group(*parts, ENDING)


def _lines(stands: Standing) -> str:
    """Say what stands, in lines that change only when something did."""
    told = [f"{title:<9}{text}" for title, text in _facts(stands)]
    if stands.schedules:
        names = ", ".join(f"{one.name} ({_when(one)})" for one in stands.schedules)
        told.append(f"{'Asks':<9}{names}")
    return "\n".join(told)


def _when(schedule: Schedule) -> str:
    return schedule.shown_trigger if schedule.active else "paused"


def _facts(stands: Standing) -> tuple[tuple[str, str], ...]:
    busy = stands.retraining
    now = f"retraining, process {busy.process.pid} since {busy.since:%H:%M:%S} UTC" if busy else ""
    facts = (
        ("Champion", stands.champion_line),
        ("Last", stands.last_line),
        ("Now", now),
        ("Trouble", stands.trouble or ""),
    )
    return tuple((title, text) for title, text in facts if text)


def print_schedules(schedules: Sequence[Schedule], now: datetime) -> None:
    """Print the project's schedules, in the order of their file."""
    console = Console(markup=False)
    if not schedules:
        console.print('No schedules yet: pitchpipe schedule --cron "0 3 * * *"', highlight=False)
        return
    console.print(schedules_table(schedules, now))


def schedules_table(schedules: Sequence[Schedule], now: datetime) -> Table:
    """Show name, trigger and next tick of each, in its own time zone."""
    table = Table(box=None, padding=(0, 2, 0, 0), highlight=False)
    for heading in ("schedule", "trigger", "next"):
        table.add_column(heading, justify="left", overflow="fold")
    for schedule in schedules:
        table.add_row(schedule.name, schedule.shown_trigger, shown_next(schedule, now))
    return table


def shown_next(schedule: Schedule, now: datetime) -> str:
    """Say when a schedule comes next, in words."""
    if not schedule.active:
        return "paused"
    tick = schedule.next_tick(now)
    return f"{tick:%Y-%m-%d %H:%M:%S %Z}" if tick else "when there is any"
