"""Output of `data triage` and `data relabel` for people."""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.box import SIMPLE
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from flows.datasets.relabel import YARDSTICK, Relabelled
from models.monitoring.labels.records import Triage, TriagePlan

_SHORT = 12
_MOST_ROWS = 20


def say_plan(plan: TriagePlan) -> None:
    """Say on standard error what will be trained, before it begins."""
    sys.stderr.write(f"{plan.sentence}\n")
    sys.stderr.flush()


@contextmanager
def following(plan: TriagePlan) -> Iterator[Callable[[], None]]:
    """Show the epochs of all folds on standard error, where that is a terminal; yield the tick."""
    console = Console(stderr=True)
    columns = (
        TextColumn("folds"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("epochs"),
        TimeRemainingColumn(),
    )
    hidden = plan.cached or not console.is_terminal
    with Progress(*columns, console=console, disable=hidden) as progress:
        task = progress.add_task("folds", total=plan.folds * plan.epochs)
        yield lambda: progress.advance(task)


def print_triage(triage: Triage) -> None:
    """Print the most suspicious images, the forecast, and where list and page are."""
    console = Console()
    if triage.faults:
        console.print(_table(triage))
    more = len(triage.faults) - _MOST_ROWS
    if more > 0:
        likely, doubts = triage.likely, len(triage.faults) - triage.likely
        console.print(
            f"and {more:,} more: {likely:,} likely faults in all, then {doubts:,} doubts (?)"
        )
    for sentence in (*triage.forecast, *triage.notes):
        console.print(escape(f"{sentence}."), soft_wrap=True)
    if any(fault.split == "test" for fault in triage.faults):
        console.print(f"{YARDSTICK[0].upper()}{YARDSTICK[1:]}.", soft_wrap=True)
    console.print(escape(f"page: {triage.page}"), soft_wrap=True)
    console.print(escape(f"list: {triage.list_file}"), soft_wrap=True)
    console.print(
        escape(f"edit its column label, then `pitchpipe data relabel {triage.list_file}`"),
        soft_wrap=True,
    )


def _table(triage: Triage) -> Table:
    table = Table(box=SIMPLE, padding=(0, 1, 0, 0))
    for column in ("rank", "image", "split", "labelled", "rather"):
        table.add_column(column, justify="right" if column == "rank" else "left")
    for fault in triage.faults[:_MOST_ROWS]:
        table.add_row(
            f"{fault.rank}{'' if fault.likely else ' ?'}",
            fault.id[:_SHORT],
            fault.split,
            escape(f"{fault.given} ({100 * fault.given_probability:.0f} %)"),
            escape(f"{fault.proposed} ({100 * fault.proposed_probability:.0f} %)"),
        )
    return table


def print_relabelled(done: Relabelled) -> None:
    """Print how many images have another label, in which splits, and how to take it back."""
    console = Console()
    if not done.is_new:
        console.print(escape(f"{done.file}: the last relabelling said the same, nothing was added"))
        return
    counts = ", ".join(f"{split} {images:,}" for split, images in done.splits.items())
    unchanged = f", {done.unchanged:,} lines changed nothing" if done.unchanged else ""
    console.print(
        escape(
            f"{done.file}: {done.changed:,} images relabelled, {done.dropped:,} dropped "
            f"({counts or 'in no split before'}){unchanged}; {done.dataset.name} is now "
            f"{done.dataset.digest[:_SHORT]}"
        )
    )
    if "test" in done.splits:
        console.print(f"{YARDSTICK[0].upper()}{YARDSTICK[1:]}.")
    console.print(
        "`pitchpipe run` trains on the new labels; "
        f"`pitchpipe data restore {done.before[:_SHORT]}` takes them back"
    )
