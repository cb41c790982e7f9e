"""Output of the data commands for people."""

from collections.abc import Iterable, Sequence

from rich.box import SIMPLE
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from flows.datasets.current import DatasetVersion
from flows.datasets.deliveries import InboxState
from flows.datasets.inbox import Taken
from flows.datasets.ingest import Added
from flows.datasets.status import DatasetStatus
from flows.registry.dataset_uses import RunUse, UsedVersion, VersionUse
from models.datasets.checks import Report
from models.datasets.prepared import Finding, Manifest
from models.errors import quantity, some_of

_SHORT = 12


def print_added(added: Added) -> None:
    """Print the new batch, and how many older pictures are in another split."""
    console, dataset = Console(), added.dataset
    console.print(
        f"{escape(str(added.batch))}: {quantity(added.images, 'image')} of "
        f"{quantity(len(added.classes), 'class')}; "
        f"{dataset.name} is now {dataset.digest[:_SHORT]}"
    )
    if added.moves.before:
        console.print(f"{added.moves.moved:,} of {added.moves.before:,} older pictures moved split")
    _print_findings(console, "warning", added.warnings)


def print_report(report: Report) -> None:
    """Print errors, then warnings."""
    console = Console()
    _print_findings(console, "error", report.errors)
    _print_findings(console, "warning", report.warnings)
    if not report.errors:
        console.print("no errors: `pitchpipe data add` accepts it")


def print_status(status: DatasetStatus) -> None:
    """Print the inbox, the dataset, its changes and its splits."""
    console = Console()
    _print_inbox(console, status.inbox)
    if not status.batches and not status.removed:
        console.print(_no_batches(status.name))
        return
    batches = quantity(len(status.batches), "batch")
    console.print(f"{status.name} {status.digest[:_SHORT]}: {batches}")
    changes = {"new": status.added, "gone": status.removed, "altered": status.altered}
    for change, names in changes.items():
        for name in names:
            console.print(f"  {change}: {escape(name)}")
    _print_findings(console, "problem", status.problems)
    if not any(changes.values()):
        console.print("nothing changed since the last version")
    if status.splits:
        table = Table("split", "images", "digest")
        for name, split in status.splits.items():
            table.add_row(name, f"{split.images:,}", split.digest[:_SHORT])
        console.print(table)
    if not status.prepared:
        console.print("the arrays are not of these batches; `pitchpipe prepare` makes them")


def _print_inbox(console: Console, inbox: InboxState) -> None:
    if inbox.waiting or inbox.arriving:
        number = len(inbox.waiting)
        waiting = f"{quantity(number, 'delivery')} {'waits' if number == 1 else 'wait'}"
        still = f", {len(inbox.arriving)} still arriving" if inbox.arriving else ""
        console.print(f"{escape(inbox.path)}: {waiting}{still}; `pitchpipe data inbox` adds them")
    if inbox.quarantined:
        bad = quantity(len(inbox.quarantined), "bad delivery")
        console.print(f"data/quarantine: {bad}, each with its report.txt")


def print_taken(taken: Taken) -> None:
    """Print the outcome of each delivery."""
    console = Console()
    for one in taken.added:
        added = (
            quantity(one.images, "image") if one.is_new else "was delivered before, nothing added"
        )
        console.print(escape(f"{one.delivery} -> {one.batch}: {added}"))
        _print_findings(console, "warning", one.warnings)
    for bad in taken.quarantined:
        console.print(escape(f"{bad.delivery} -> {bad.place}: not added"))
        _print_findings(console, "error", bad.errors)
    for sentence in some_of(taken.refused):
        console.print(escape(f"not fetched: {sentence}"))
    if taken.arriving:
        console.print(f"still arriving: {escape(', '.join(taken.arriving))}")
    if not (taken.added or taken.quarantined or taken.refused or taken.arriving):
        console.print(f"no deliveries for {taken.dataset.name}")


def print_log(name: str, versions: Sequence[UsedVersion]) -> None:
    """Print a table of versions."""
    if not versions:
        Console().print(_no_batches(name))
        return
    table = Table(title=name, box=SIMPLE, padding=(0, 1, 0, 0))
    # In a narrow terminal it is the names of batches that are broken, not what is to be copied.
    for column in ("version", "created", "images", "classes"):
        table.add_column(column, no_wrap=True)
    for column in ("batches", "runs", "models"):
        table.add_column(column, overflow="fold")
    for version in versions:
        table.add_row(
            version.digest[:_SHORT],
            version.created[:16].replace("T", " "),
            f"{version.images:,}",
            str(len(version.classes)),
            escape("\n".join(batch.name.removesuffix(".parquet") for batch in version.batches)),
            "?" if version.runs is None else _format_runs(version.runs),
            "?" if version.versions is None else _format_versions(version.versions),
        )
    Console().print(table)


def _no_batches(name: str) -> str:
    return f"{name}: no images yet; `pitchpipe data add SOURCE --dataset {name}` adds some"


def _format_runs(runs: Iterable[RunUse]) -> str:
    parents = [run.parent is None for run in runs]
    return f"{sum(parents)} of {len(parents) - sum(parents)} trials" if parents else "-"


def _format_versions(versions: Iterable[VersionUse]) -> str:
    lines = [" ".join((str(version.version), *version.aliases)) for version in versions]
    return escape("\n".join(lines)) or "-"


def print_restored(restored: DatasetVersion) -> None:
    """Print the digests of the version that was restored."""
    Console().print(
        f"{restored.name} is {restored.digest[:_SHORT]} again; "
        f"prepared as {restored.prepared_digest[:_SHORT]}"
    )


def print_prepared(manifest: Manifest) -> None:
    """Print the size of each split, and warnings."""
    console = Console()
    counts = ", ".join(f"{name} {split.images:,}" for name, split in manifest.splits.items())
    console.print(f"{manifest.name}: {counts} images, prepared digest {manifest.digest[:_SHORT]}")
    _print_findings(console, "warning", manifest.checks)


def _print_findings(console: Console, word: str, findings: Iterable[Finding]) -> None:
    for finding in findings:
        where = f"{finding.where}: " if finding.where else ""
        console.print(escape(f"{word}: {where}{finding.message} [{finding.code}]"))
