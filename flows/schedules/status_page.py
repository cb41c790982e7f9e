"""Output of `pitchpipe up`: a page that is updated on a terminal, lines elsewhere."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Self

from pydantic import ValidationError
from rich.console import Console, Group
from rich.live import Live
from rich.style import Style
from rich.table import Table
from rich.text import Text

from flows.runtime.prefect_server import SERVICES
from flows.schedules.config import Schedule
from flows.schedules.status import Status, read_status
from models.config import Params, load_params
from models.decision import Decision
from models.errors import PitchpipeError

ENDING = "Ctrl-C stops all."
_DECISION = "decision: "
_EVENTS = (_DECISION, "inbox: ", "tried again: ", "guard: ")
"""Prefixes of the worker's lines that are shown as they come."""
_IN_EVENTS = ("last decision", "deliveries")
"""Facts that lines of the worker tell already."""


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
    """Links, status and schedules of the project; each decision and delivery as a line."""

    def __init__(
        self,
        links: Sequence[Link],
        decisions: Path,
        read_params: Callable[[], Params] = load_params,
    ) -> None:
        self._links = links
        self._news = _NewLines(decisions)
        self._read_params = read_params
        self._console = Console(markup=False, highlight=False, soft_wrap=True)
        self._live: Live | None = None
        self._shown = ""
        self._status: Status | None = None
        self._trouble = ""
        """Why the status cannot be read now."""

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
        """Show new decisions and deliveries, and the status where it changed."""
        for line in self._news.read():
            if line.startswith(_EVENTS):
                self._console.print(line if self._live is None else in_words(line))
        self._read_status()
        if self._live is not None:
            self._live.update(self._page(datetime.now(UTC)), refresh=True)
        elif (lines := self._lines()) != self._shown:
            self._shown = lines
            self._console.print(lines)

    def _read_status(self) -> None:
        """Read the status; where that fails, the last one stays, with the reason."""
        try:
            self._status, self._trouble = read_status(self._read_params(), ask_servers=False), ""
        except PitchpipeError as error:
            self._trouble = str(error)

    def _page(self, now: datetime) -> Group:
        facts = Table(box=None, show_header=False, padding=(0, 2, 0, 0))
        facts.add_column()
        facts.add_column(overflow="fold")
        for link in self._links:  # a link that fills two lines can be clicked all the same
            note = f"  ({link.note})" if link.note else ""
            linked = Text.assemble((link.signed_in, Style(link=link.signed_in)), note)
            facts.add_row(link.title, linked)
        for title, text, source in self._facts():
            facts.add_row(title, f"{text} [{source}]")
        parts = [facts]
        if self._status is not None and self._status.schedules:
            parts.append(schedules_table(self._status.schedules, now))
        return Group(*parts, ENDING)

    def _lines(self) -> str:
        """Format the status as lines that stay the same until a fact changes."""
        facts = (fact for fact in self._facts() if fact[0] not in _IN_EVENTS)
        lines = [f"{title}: {text} [{source}]" for title, text, source in facts]
        if self._status is not None and self._status.schedules:
            names = ", ".join(f"{one.name} ({_when(one)})" for one in self._status.schedules)
            lines.append(f"schedules: {names} [{self._status.sources['schedules']}]")
        return "\n".join(lines)

    def _facts(self) -> Iterator[tuple[str, str, str]]:
        if self._trouble:
            yield "trouble", self._trouble, "below: as last read"
        if self._status is not None:
            yield from self._status.facts


def in_words(line: str) -> str:
    """Put a line of the worker into words for people: decisions are JSON."""
    if not line.startswith(_DECISION):
        return line
    try:
        decision = Decision.model_validate_json(line.removeprefix(_DECISION))
    except ValidationError:
        return line
    answer = "retrain" if decision.retrain else "do not retrain"
    return f"{_DECISION}{answer}: {decision.reason}"


class _NewLines:
    """Lines appended to a file from now on."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._offset = path.stat().st_size if path.exists() else 0

    def read(self) -> list[str]:
        """Return the complete lines added since the last call."""
        if not self._path.exists():
            return []
        with self._path.open("rb") as file:
            file.seek(self._offset)
            whole, _, _ = file.read().rpartition(b"\n")
        self._offset += len(whole) + 1 if whole else 0
        return whole.decode(errors="replace").split("\n") if whole else []


def _when(schedule: Schedule) -> str:
    return schedule.trigger_text if schedule.active else "paused"


def schedules_table(schedules: Sequence[Schedule], now: datetime) -> Table:
    """Make a table of name, trigger and next tick, in the time zone of each schedule."""
    table = Table(box=None, padding=(0, 2, 0, 0), highlight=False)
    for heading in ("schedule", "trigger", "next"):
        table.add_column(heading, justify="left", overflow="fold")
    for schedule in schedules:
        table.add_row(schedule.name, schedule.trigger_text, format_next(schedule, now))
    return table


def format_next(schedule: Schedule, now: datetime) -> str:
    """Format the next tick of a schedule."""
    if not schedule.active:
        return "paused"
    tick = schedule.next_tick(now)
    return f"{tick:%Y-%m-%d %H:%M:%S %Z}" if tick else "when triggered"
