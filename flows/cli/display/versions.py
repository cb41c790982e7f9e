"""Versions, moves and the ledger as JSON documents and as tables for the terminal."""

import textwrap
from collections.abc import Mapping, Sequence

from pydantic import JsonValue
from rich.box import SIMPLE
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from flows.cli.display.tables import SCORE_HEADINGS, score_cells, trial_table
from flows.records.champion_score import ChampionScore
from flows.records.drift_reports import DriftRecord
from flows.records.ledger import Entry
from flows.records.promotion import Move
from flows.registry.loading import VersionFiles
from flows.registry.promotion.audit import Audit
from flows.registry.records import VersionRecord
from models.evaluation.records import Evaluation
from models.monitoring.records import UnlabelledAccuracy

Document = dict[str, JsonValue]
_REASONS = 100
"""Characters of an entry's reasons in the table; `audit --json` has them whole."""


def version_document(record: VersionRecord, corrected: ChampionScore | None = None) -> Document:
    """One of `pitchpipe versions --json`; corrected: of the champion."""
    tags = record.tags
    known = "dataset.digest" in tags
    dataset: JsonValue = (
        {"name": tags.get("dataset.name"), "digest": tags["dataset.digest"]} if known else None
    )
    return {
        "version": record.version,
        "aliases": list(record.aliases),
        "test": record.test.model_dump() if record.test else None,
        "corrected": corrected.model_dump() if corrected else None,
        "dataset": dataset,
        "trial": record.trial,
        "created": record.created,
        "verdict": tags.get("verdict"),
        "run": record.run_id,
    }


def version_details(record: VersionRecord) -> Document:
    """`pitchpipe versions show N --json`."""
    tags: dict[str, JsonValue] = dict(sorted(record.tags.items()))
    return version_document(record) | {"name": record.name, "tags": tags}


def trace_document(files: VersionFiles) -> Document:
    """`pitchpipe trace VERSION --json`: the lineage of a version."""
    lineage = files.lineage
    config, calibration = lineage.spec.config, lineage.calibration
    return {
        "version": files.record.version,
        "data": lineage.dataset.model_dump(),
        "params": lineage.params,
        "code": lineage.code.model_dump() | {"training_source": lineage.spec.source},
        "environment": dict(lineage.environment),
        "seed": config.seed,
        "trial": lineage.result.key,
        "config": config.model_dump(mode="json"),
        "epoch": lineage.result.best_epoch,
        "weights": lineage.result.weights_digest,
        "run": files.record.run_id,
        "parent": lineage.parent.model_dump() if lineage.parent else None,
        "calibration": calibration.model_dump() if calibration else None,
        "flips": lineage.flips,
        "registered": lineage.created,
    }


def moved_document(moved: Move) -> Document:
    """A move of the champion, as JSON."""
    return {
        "action": moved.action,
        "from": moved.before,
        "to": moved.after,
        "verdict": moved.verdict,
        "reasons": list(moved.reasons),
        "ledger_entry": moved.entry.digest if moved.entry else None,
    }


def print_versions(
    name: str, records: Sequence[VersionRecord], corrected: Mapping[int, ChampionScore]
) -> None:
    """Print versions, newest first, and what is known better of the champion's accuracy."""
    console = Console()
    if not records:
        console.print(f"{name} has no version yet: `pitchpipe run` registers the first.")
        return
    table = trial_table(("version", "alias", *SCORE_HEADINGS, "dataset", "created"), title=name)
    for record in records:
        table.add_row(
            str(record.version),
            "\n".join(record.aliases),
            *score_cells(record.test),
            record.tags.get("dataset.name", ""),
            record.created[:16].replace("T", " "),
        )
    console.print(table)
    for version, score in corrected.items():
        console.print(f"version {version}: {score.sentence}", markup=False, highlight=False)


def print_facts(document: Document) -> None:
    """Print a document as a tree of names and values."""
    console = Console(highlight=False, soft_wrap=True)
    for name, value in _lines(document, indent=0):
        console.print(f"{name}[bold]{_escaped(value)}[/bold]")


def print_scores(found: Evaluation) -> None:
    """Print an evaluation to four decimals; --json has full precision and each class."""
    facts = _rounded(found.model_dump(mode="json", exclude={"confusion", "per_class"}))
    print_facts(facts | ({"left out of f1_macro": found.f1_scope} if found.absent else {}))


def _rounded(document: Document) -> Document:
    return {
        name: _rounded(value)
        if isinstance(value, dict)
        else f"{value:.4f}"
        if isinstance(value, float)
        else value
        for name, value in document.items()
    }


def print_moved(moved: Move) -> None:
    """Print a change of the champion and its reasons."""
    console = Console(highlight=False, soft_wrap=True)
    verdict = f" [bold]{moved.verdict}[/bold]" if moved.verdict else ""
    console.print(
        f"{moved.action}:{verdict} champion {_number(moved.before)} -> {_number(moved.after)}"
    )
    for reason in moved.reasons:
        console.print(f"  - {_escaped(reason)}")
    if moved.entry and moved.action == "await":
        console.print(f"version {moved.entry.after} awaits `pitchpipe approve {moved.entry.after}`")


def print_audit(found: Audit) -> None:
    """Print the ledger, oldest first, with shortened reasons, and its problems."""
    console = Console(highlight=False, soft_wrap=True)
    for entry in found.entries:
        console.print(_escaped(_sentence(entry)))
    if found.valid:
        console.print(f"{len(found.entries)} entries; chain, MLflow and aliases agree.")
    for problem in found.problems:
        console.print(f"[bold red]problem:[/bold red] {_escaped(problem)}")


def _sentence(entry: Entry) -> str:
    change = "" if entry.after is None else f" {_number(entry.before)} -> {_number(entry.after)}"
    verdict = f" {entry.verdict}" if entry.verdict else ""
    intends = f" to {entry.intends}" if entry.intends else ""
    reasons = textwrap.shorten("; ".join(entry.reasons), _REASONS, placeholder=" ...")
    head = f"{entry.number:>4} {entry.time[:19]} {entry.who} {entry.name}"
    return f"{head} {entry.action}{intends}{change}{verdict}{reasons and f': {reasons}'}"


def _lines(node: Document, *, indent: int) -> list[tuple[str, str]]:
    lines = []
    for name, value in node.items():
        head = f"{'  ' * indent}{name}: "
        if isinstance(value, dict):
            lines += [(head, ""), *_lines(value, indent=indent + 1)]
        else:
            lines.append((head, "" if value is None else str(value)))
    return lines


def _number(version: int | None) -> str:
    return "none" if version is None else str(version)


def _escaped(text: str) -> str:
    return text.replace("[", r"\[")


def monitor_document(record: DriftRecord) -> dict[str, JsonValue]:
    """`pitchpipe monitor --json`."""
    report = record.report
    return {
        "drift": report.drift,
        "answer": report.answer,
        "look": report.look,
        "tests": [test.model_dump() for test in report.tests],
        "classes": [share.model_dump() for share in report.classes],
        "expected": _expected_document(report.expected),
        "reference": {"images": report.reference_images, "digest": record.reference_digest},
        "batch": {
            "images": report.batch_images,
            "copies": report.batch_copies,
            "digest": record.batch_digest,
            "trained_on": record.trained_on,
        },
        "name": record.name,
        "version": record.version,
        "source": record.source,
        "at": record.at.isoformat(timespec="seconds"),
        "run": record.run_id,
    }


def _expected_document(expected: UnlabelledAccuracy | None) -> JsonValue:
    """Add to each estimate what it assumes."""
    if expected is None:
        return None
    assumptions = [{"assumption": one.assumption} for one in expected.estimates]
    document: dict[str, JsonValue] = expected.model_dump(mode="json")
    estimates = [one.model_dump(mode="json") for one in expected.estimates]
    joined: list[JsonValue] = [a | b for a, b in zip(estimates, assumptions, strict=True)]
    return document | {"estimates": joined}


def print_monitored(record: DriftRecord) -> None:
    """Print whether images drifted, and each test."""
    console, report = Console(), record.report
    answer = report.answer + (f", by {', '.join(report.shifted)}" if report.shifted else "")
    console.print(
        f"{escape(record.source)}: {answer}. {report.batch_images:,} images against "
        f"{report.reference_images:,} of validation, as version {record.version} sees them"
    )
    table = Table(box=SIMPLE, padding=(0, 1, 0, 0))
    for heading in ("test", "statistic", "effect", "p-value", "shift if <="):
        table.add_column(heading, no_wrap=True, justify="left" if heading == "test" else "right")
    table.add_column("these images", overflow="fold")
    for test in report.tests:
        mark = "[bold red]" if test.drifted else ""
        effect = "" if test.effect is None else f"{test.effect:.3f}"
        tail = (f"{test.p_value:.2g}", f"{test.threshold:.2g}", test.words)
        cells = (f"{test.statistic:.4g}", effect, *tail)
        table.add_row(f"{mark}{test.name}", *map(escape, cells))
    console.print(table)
    if report.expected is not None:
        console.print(escape(report.expected.sentence))
    if report.look is not None:
        console.print(f"report {report.look:,} about version {record.version}")
    if report.batch_copies:
        console.print(
            f"{report.batch_copies:,} copies of these images were left out: each image counts once"
        )
    if record.trained_on:
        console.print(
            f"{record.trained_on:,} of the images are among those that the version was trained or "
            "selected on: they look more familiar than new ones would"
        )
