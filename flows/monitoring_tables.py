"""What `pitchpipe monitor` answers: a JSON document, or a table with a sentence."""

from pydantic import JsonValue
from rich.box import SIMPLE
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from flows.drift_log import DriftRecord


def monitor_document(record: DriftRecord) -> dict[str, JsonValue]:
    """`pitchpipe monitor --json`."""
    report = record.report
    return {
        "drift": report.drift,
        "tests": [test.model_dump() for test in report.tests],
        "classes": [share.model_dump() for share in report.classes],
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


def print_monitored(record: DriftRecord) -> None:
    """Say whether images drifted, and by what one sees it."""
    console, report = Console(), record.report
    shifted = [test.name for test in report.tests if test.shifted]
    answer = f"drift, by {', '.join(shifted)}" if shifted else "no drift"
    console.print(
        f"{escape(record.source)}: {answer}. {report.batch_images:,} images against "
        f"{report.reference_images:,} of validation, seen by version {record.version}"
    )
    table = Table(box=SIMPLE, padding=(0, 1, 0, 0))
    for heading in ("test", "statistic", "p-value", "drift if <="):
        table.add_column(heading, no_wrap=True, justify="left" if heading == "test" else "right")
    table.add_column("these images", overflow="fold")
    for test in report.tests:
        mark = "[bold red]" if test.shifted else ""
        cells = (f"{test.statistic:.4g}", f"{test.p_value:.4f}", f"{test.threshold:g}", test.words)
        table.add_row(f"{mark}{test.name}", *map(escape, cells))
    console.print(table)
    if report.batch_copies:
        console.print(
            f"{report.batch_copies:,} copies of these images were left out: a copy says nothing new"
        )
    if record.trained_on:
        console.print(
            f"{record.trained_on:,} of the images are among those that the version was trained or "
            "selected on: they look more familiar than new ones would"
        )
