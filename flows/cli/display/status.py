"""Output of `pitchpipe status` for people: facts with their sources, and the last verdicts."""

import math
from collections import Counter
from collections.abc import Iterator, Sequence
from datetime import datetime

from rich.console import Console
from rich.table import Table
from rich.text import Text

from flows.cli.display.sparklines import Scale, sparkline
from flows.records.judged import Judged
from flows.schedules.status import Status
from flows.schedules.status_page import schedules_table
from models.config.policies import Verdict
from models.errors import quantity

_STYLES: dict[Verdict, str] = {"PROMOTE": "bold green", "HOLD": "yellow", "REJECT": "bold red"}
_WORDS: dict[Verdict, str] = {"PROMOTE": "promoted", "HOLD": "held", "REJECT": "rejected"}


def print_status(status: Status, now: datetime) -> None:
    """Print the services, each fact with its source, the last verdicts, and the schedules."""
    console = Console(markup=False, highlight=False)
    table = Table(box=None, show_header=False, padding=(0, 2, 0, 0))
    table.add_column(style="bold", no_wrap=True)
    table.add_column(overflow="fold")
    for title, text, source in _rows(status, ascii_only=console.options.ascii_only):
        table.add_row(title, Text.assemble(text, (f" [{source}]", "dim")))
    console.print(table)
    if status.schedules:
        console.print()
        console.print(schedules_table(status.schedules, now))


def _rows(status: Status, *, ascii_only: bool) -> Iterator[tuple[str, Text, str]]:
    """Title, text and source of each line."""
    for service in status.services:
        silent = "" if service.answers else " does not answer"
        yield service.name, Text(f"{service.url}{silent}"), status.sources["services"]
    if not status.services:
        yield "services", Text("none: pitchpipe up"), status.sources["services"]
    for title, text, source in status.facts:
        yield title, _coloured(text), source
        if title == "champion" and status.judged:
            yield from _judged(status, ascii_only=ascii_only)


def _coloured(text: str) -> Text:
    """Text in which verdicts have their colours."""
    shown = Text(text)
    for verdict, style in _STYLES.items():
        shown.highlight_words([verdict], style)
    return shown


def _judged(status: Status, *, ascii_only: bool) -> Iterator[tuple[str, Text, str]]:
    """A letter for each challenger, and its test accuracy below it."""
    judged = status.judged
    letters = [(one.verdict[0], _STYLES[one.verdict]) for one in judged]
    yield (
        "last verdicts",
        Text.assemble(*letters, f"  {_counted(judged)}"),
        status.sources["judged"],
    )
    accuracies = [math.nan if one.accuracy is None else one.accuracy for one in judged]
    known = [value for value in accuracies if math.isfinite(value)]
    if known:
        bars = sparkline(accuracies, Scale.of(known), ascii_only=ascii_only)
        spread = f"  test accuracy, {min(known):.4f} to {max(known):.4f}"
        yield "", Text.assemble((bars, "green"), spread), status.sources["champion"]


def _counted(judged: Sequence[Judged]) -> str:
    counts = Counter(one.verdict for one in judged)
    parts = [f"{counts[verdict]} {word}" for verdict, word in _WORDS.items() if counts[verdict]]
    return f"{quantity(len(judged), 'challenger')}: {', '.join(parts)}"
