"""What `pitchpipe up` shows: a page that stays on a terminal, lines where there is none."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Self

from rich.console import Console, Group
from rich.live import Live
from rich.style import Style
from rich.table import Table
from rich.text import Text

from flows.prefect_api import SERVICES
from flows.schedule_tables import schedules_table
from flows.schedules import Schedule
from flows.standing import Standing, standing

ENDING = "Ctrl-C stops all."
_TOLD = ("decision: ", "inbox: ", "tried again: ")
"""How lines of the schedules begin that are shown as they come."""


@dataclass(frozen=True, slots=True)
class Link:
    """A page to look at."""

    title: str
    server: str
    """Its address, without a slash at the end."""
    page: str = ""
    """What follows the slash."""
    password: str | None = None
    """Of the server, which asks for one."""
    note: str = ""

    @property
    def public(self) -> str:
        """What anybody may read, in logs too."""
        return f"{self.server}/{self.page}" if self.page else self.server

    @property
    def signed_in(self) -> str:
        """What opens the page at once; for a terminal, not for a log."""
        if self.password is None:
            return self.public
        return f"{self.server}/?token={self.password}{self.page}"


class StatusPage:
    """Links, next ticks, last verdict, champion; and each decision and delivery, as a line."""

    def __init__(self, links: Sequence[Link], decisions: Path) -> None:
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
            for link in self._links:
                note = f"  ({link.note})" if link.note else ""
                self._console.print(f"{link.title:<9}{link.public}{note}")
            if any(link.password for link in self._links):
                self._console.print(f"{'Password':<9}in {SERVICES}")
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


def _page(links: Sequence[Link], stands: Standing, now: datetime) -> Group:
    facts = Table(box=None, show_header=False, padding=(0, 2, 0, 0))
    facts.add_column()
    facts.add_column(overflow="fold")
    for link in links:  # a link that fills two lines can be clicked all the same
        note = f"  ({link.note})" if link.note else ""
        shown = Text.assemble((link.signed_in, Style(link=link.signed_in)), note)
        facts.add_row(link.title, shown)
    for title, text in _facts(stands):
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
