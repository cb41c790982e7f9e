"""What people read of `pitchpipe status` and `pitchpipe doctor`."""

from collections import Counter
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from rich.box import SIMPLE
from rich.console import Console
from rich.table import Table

from flows.search.progress import shown
from flows.upkeep.doctor import Finding
from flows.upkeep.status import Status


def print_status(status: Status) -> None:
    """Print the project at a glance."""
    table = Table(box=None, show_header=False, padding=(0, 2, 0, 0), highlight=False)
    for name, what in _lines(status):
        table.add_row(name, what)
    Console(markup=False).print(table)


def _lines(status: Status) -> Iterator[tuple[str, str]]:
    for service in status.services:
        yield service.name, service.url if service.answers else f"{service.url} does not answer"
    if not status.services:
        yield "services", "none: pitchpipe up"
    champion = status.champion
    if champion is None:
        yield "champion", "none yet: pitchpipe run"
    else:
        scores = f", test {shown(champion.test)}" if champion.test else ""
        yield "champion", f"{champion.name} version {champion.version}{scores}"
    if status.running is not None:
        running = status.running
        began = f"since {running.since:%Y-%m-%d %H:%M} UTC"
        yield "retraining now", f"process {running.process.pid} ({running.command}), {began}"
    last = status.last_run
    if last is not None:
        yield "last retraining", f"{last.finished}: {last.verdict}, version {last.version}"
    lying = {name: count for name, count in status.deliveries if count}
    if lying:
        yield "deliveries", ", ".join(f"{count} {name}" for name, count in lying.items())
    for schedule in status.schedules:
        assert isinstance(schedule, dict)
        coming = f", next {schedule['next']}" if schedule["next"] else ""
        resting = "" if schedule["active"] else ", paused"
        yield "schedule", f"{schedule['name']}: {schedule['trigger']}{coming}{resting}"
    if status.last_decision is not None:
        yield "last answer", f"{status.last_decision.time}: {status.last_decision.reason}"


def print_findings(findings: Sequence[Finding]) -> None:
    """Print each finding, and its remedy below it."""
    console = Console(markup=False, highlight=False, soft_wrap=True)
    for finding in findings:
        console.print(f"{finding.level:8} {finding.what}")
        if finding.remedy is not None:
            console.print(f"{'':8} -> {finding.remedy}")


if TYPE_CHECKING:
    from flows.upkeep.retention import CleanedItem, Cleaning


def print_cleaning(cleaning: "Cleaning") -> None:
    """Print a row for each reason that something goes or stays for, and the bytes that are free."""
    console = Console(markup=False, highlight=False)
    reasons = Counter((item.kind, "goes", item.why) for item in cleaning.removed)
    reasons.update((item.kind, "stays", item.why) for item in cleaning.kept)
    table = Table("what", "", "how many", "bytes", "why", box=SIMPLE)
    for (kind, fate, why), count in sorted(reasons.items()):
        items = cleaning.removed if fate == "goes" else cleaning.kept
        table.add_row(kind, fate, f"{count:,}", f"{_bytes(items, kind, why):,}", why)
    if reasons:
        console.print(table)
    freed = "would be freed; nothing was removed" if cleaning.dry_run else "freed"
    console.print(f"{cleaning.bytes:,} bytes {freed}")


def _bytes(items: "tuple[CleanedItem, ...]", kind: str, why: str) -> int:
    return sum(item.bytes for item in items if (item.kind, item.why) == (kind, why))
