"""What people read of `pitchpipe status` and `pitchpipe doctor`."""

from collections.abc import Iterator, Sequence

from rich.console import Console
from rich.table import Table

from flows.doctor import Finding
from flows.progress import shown
from flows.status import Status


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
