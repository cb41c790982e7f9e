"""Output of `init`, `doctor`, `gc`, `sync` and `schedule list` for people."""

from collections import Counter
from collections.abc import Sequence
from datetime import datetime
from typing import TYPE_CHECKING

from rich.box import SIMPLE
from rich.console import Console
from rich.table import Table

from flows.schedules.config import Schedule
from flows.schedules.status_page import schedules_table

if TYPE_CHECKING:  # each of these takes seconds to import
    from flows.datasets.ingest import Added
    from flows.datasets.new_project import NewProject
    from flows.tracking.reconcile import SyncReport
    from flows.upkeep.doctor import Finding
    from flows.upkeep.retention import CleanedItem, Cleaning


def print_new_project(project: "NewProject", added: "Added | None") -> None:
    """Print the files of a new project, its first batch, and what to do next."""
    console = Console(markup=False, highlight=False, soft_wrap=True)
    console.print(f"{project.folder}: a project for the dataset {project.dataset}")
    console.print(f"  written: {', '.join(project.written)}")
    if project.kept:
        console.print(f"  kept as they were: {', '.join(project.kept)}")
    if added is None:
        step = f"pitchpipe data add PHOTOS --dataset {project.dataset}"
        console.print(f"Next: cd {project.folder}, check params.yaml, {step}, pitchpipe run")
        return
    for finding in added.warnings:
        console.print(f"  warning: {finding.where or added.batch}: {finding.message}")
    values = project.values
    console.print(
        f"{added.images:,} images of {len(added.classes)} classes are its first batch; "
        f"params.yaml: {values.image_size} pixels, {values.channels} channels, "
        f"{values.epochs} epochs"
    )
    console.print(f"Next: cd {project.folder}, look at params.yaml, pitchpipe run")


def print_schedules(schedules: Sequence[Schedule], now: datetime) -> None:
    """Print the project's schedules, in the order of their file."""
    console = Console(markup=False, highlight=False)
    if schedules:
        console.print(schedules_table(schedules, now))
    else:
        console.print('No schedules yet: pitchpipe schedule --cron "0 3 * * *"')


def print_findings(findings: "Sequence[Finding]") -> None:
    """Print each finding, and its remedy below it."""
    console = Console(markup=False, highlight=False, soft_wrap=True)
    for finding in findings:
        console.print(f"{finding.level:8} {finding.what}")
        if finding.remedy is not None:
            console.print(f"{'':8} -> {finding.remedy}")


def print_cleaning(cleaning: "Cleaning") -> None:
    """Print a row for each reason to remove or keep something, and the bytes freed."""
    console = Console(markup=False, highlight=False)
    reasons = Counter((item.kind, "remove", item.why) for item in cleaning.removed)
    reasons.update((item.kind, "keep", item.why) for item in cleaning.kept)
    table = Table("kind", "", "number", "bytes", "reason", box=SIMPLE)
    for (kind, fate, why), count in sorted(reasons.items()):
        items = cleaning.removed if fate == "remove" else cleaning.kept
        table.add_row(kind, fate, f"{count:,}", f"{_bytes(items, kind, why):,}", why)
    if reasons:
        console.print(table)
    freed = "would be freed; nothing was removed" if cleaning.dry_run else "freed"
    console.print(f"{cleaning.bytes:,} bytes {freed}")
    if cleaning.note:
        console.print(cleaning.note)


def _bytes(items: "tuple[CleanedItem, ...]", kind: str, why: str) -> int:
    return sum(item.bytes for item in items if (item.kind, item.why) == (kind, why))


def print_sync(report: "SyncReport") -> None:
    """Print what MLflow lacked, what it refused, and the number of what it had."""
    console = Console(markup=False, highlight=False)
    for name in report.told:
        console.print(f"written to MLflow: {name}")
    for refusal in report.refused:
        console.print(f"refused by MLflow: {refusal}")
    console.print(f"{report.whole} retrainings and drift reports were up to date.")
