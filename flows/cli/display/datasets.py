"""What the data commands show to people."""

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from rich.box import SIMPLE
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from models.datasets.prepared import Finding

if TYPE_CHECKING:
    from flows.cli.data_documents import (
        AddedDocument,
        InboxDocument,
        LogDocument,
        PreparedDocument,
        ReportDocument,
        RestoredDocument,
        StatusDocument,
        TakenDocument,
    )
    from flows.cli.dataset_uses import RunUse, VersionUse

_SHORT = 12


def print_added(document: "AddedDocument") -> None:
    """Say what was added, and that nothing moved."""
    console = Console()
    classes = len(document.classes)
    console.print(
        f"{escape(document.batch)}: {document.images:,} images of {classes} classes; "
        f"{document.dataset.name} is now {document.dataset.digest[:_SHORT]}"
    )
    if document.moves.before:
        console.print(
            f"{document.moves.moved:,} of {document.moves.before:,} older pictures moved split"
        )
    _findings(console, "warning", document.warnings)


def print_report(document: "ReportDocument") -> None:
    """List errors, then warnings."""
    console = Console()
    _findings(console, "error", document.errors)
    _findings(console, "warning", document.warnings)
    if not document.errors:
        console.print("no errors; `pitchpipe data add` takes it")


def print_status(document: "StatusDocument") -> None:
    """Show the dataset, its splits, and what changed."""
    console = Console()
    _print_inbox(console, document.inbox)
    if not document.batches and not document.removed:
        console.print(_nothing(document.name))
        return
    console.print(f"{document.name} {document.digest[:_SHORT]}: {len(document.batches)} batches")
    changes = {"new": document.added, "gone": document.removed, "altered": document.altered}
    for change, names in changes.items():
        for name in names:
            console.print(f"  {change}: {escape(name)}")
    _findings(console, "problem", document.problems)
    if not any(changes.values()):
        console.print("nothing changed since the last version")
    table = Table("split", "images", "digest")
    for name, split in document.splits.items():
        table.add_row(name, f"{split.images:,}", split.digest[:_SHORT])
    console.print(table)
    if not document.prepared:
        console.print("the arrays are not of these batches; `pitchpipe prepare` makes them")


def _print_inbox(console: Console, inbox: "InboxDocument") -> None:
    if inbox.waiting or inbox.arriving:
        still = f", {len(inbox.arriving)} still arriving" if inbox.arriving else ""
        console.print(
            f"{escape(inbox.path)}: {len(inbox.waiting)} deliveries wait{still}; "
            "`pitchpipe data inbox` adds them"
        )
    if inbox.quarantined:
        console.print(
            f"data/quarantine: {len(inbox.quarantined)} bad deliveries, each with its report.txt"
        )


def print_taken(document: "TakenDocument") -> None:
    """Say what became of each delivery."""
    console = Console()
    for one in document.added:
        added = f"{one.images:,} images" if one.is_new else "was delivered before, nothing added"
        console.print(escape(f"{one.delivery} -> {one.batch}: {added}"))
        _findings(console, "warning", one.warnings)
    for bad in document.quarantined:
        console.print(escape(f"{bad.delivery} -> {bad.place}: not added"))
        _findings(console, "error", bad.errors)
    if document.arriving:
        console.print(f"still arriving: {escape(', '.join(document.arriving))}")
    if not document.added and not document.quarantined:
        console.print(f"nothing to take for {document.dataset.name}")


def print_log(name: str, documents: "Sequence[LogDocument]") -> None:
    """List versions."""
    if not documents:
        Console().print(_nothing(name))
        return
    table = Table(title=name, box=SIMPLE, padding=(0, 1, 0, 0))
    # In a narrow terminal it is the names of batches that are broken, not what is to be copied.
    for column in ("version", "created", "images", "classes"):
        table.add_column(column, no_wrap=True)
    for column in ("batches", "runs", "models"):
        table.add_column(column, overflow="fold")
    for version in documents:
        table.add_row(
            version.digest[:_SHORT],
            version.created[:16].replace("T", " "),
            f"{version.images:,}",
            str(len(version.classes)),
            escape("\n".join(name.removesuffix(".parquet") for name in version.batches)),
            "?" if version.runs is None else _shown_runs(version.runs),
            "?" if version.versions is None else _shown_versions(version.versions),
        )
    Console().print(table)


def _nothing(name: str) -> str:
    return f"{name}: nothing was added yet; `pitchpipe data add SOURCE --dataset {name}`"


def _shown_runs(runs: "Iterable[RunUse]") -> str:
    parents = [run.parent is None for run in runs]
    return f"{sum(parents)} of {len(parents) - sum(parents)} trials" if parents else "-"


def _shown_versions(versions: "Iterable[VersionUse]") -> str:
    shown = [" ".join((str(version.version), *version.aliases)) for version in versions]
    return escape("\n".join(shown)) or "-"


def print_restored(document: "RestoredDocument") -> None:
    """Say what is back."""
    Console().print(
        f"{document.name} is {document.digest[:_SHORT]} again; "
        f"prepared as {document.prepared_digest[:_SHORT]}"
    )


def print_prepared(document: "PreparedDocument") -> None:
    """Say what the arrays hold."""
    console = Console()
    counts = ", ".join(f"{name} {split.images:,}" for name, split in document.splits.items())
    console.print(f"{document.name}: {counts} images, prepared digest {document.digest[:_SHORT]}")
    _findings(console, "warning", document.warnings)


def _findings(console: Console, word: str, findings: "Iterable[Finding]") -> None:
    for finding in findings:
        where = f"{finding.where}: " if finding.where else ""
        console.print(escape(f"{word}: {where}{finding.message} [{finding.code}]"))
