"""A drift report as one run of MLflow: metrics, a table in its description, and files."""

import contextlib
import shutil
from collections.abc import Iterator
from pathlib import Path

from flows.records.drift_reports import DriftRecord, figure_of
from flows.runtime.scratch import scratch_folder
from flows.tracking.experiment import MONITOR, REPORT
from flows.tracking.projection import owner_of
from flows.tracking.runs import Runs, metrics_of
from flows.tracking.single_run import SingleRun, log_once
from flows.tracking.store import Tracking, mlflow_errors
from models.monitoring.records import DriftTest


def log_report(tracking: Tracking, record: DriftRecord) -> str:
    """Log a report, unless it is logged already, and return its run's id.

    Raises TrackingError where MLflow fails, OSError where the files cannot be stored.
    """
    with mlflow_errors():
        run_id, _ = log_missing_report(tracking, record)
    return run_id


def log_missing_report(tracking: Tracking, record: DriftRecord) -> tuple[str, bool]:
    """Log a report that MLflow does not have whole; return its run's id, and whether it had not.

    A run that was begun and not finished is completed. Raises MlflowException or OSError; the run
    is then FAILED, as far as MLflow can be reached, and the next call completes it.
    """
    runs, single = Runs(tracking), _single(record)
    return log_once(runs, single, lambda run: _write(runs, run, record, at=single.at))


def _write(runs: Runs, run_id: str, record: DriftRecord, *, at: int) -> None:
    runs.log_metrics(run_id, metrics_of(_metrics(record), at=at, step=0))
    with _files(record) as files:
        runs.log_files(run_id, str(files), under="drift")


def is_being_logged(tracking: Tracking, record: DriftRecord) -> bool:
    """Whether a living process, perhaps this one, is logging the report."""
    known = Runs(tracking).find(_single(record).condition)
    owner = None if known is None or known.info.status != "RUNNING" else owner_of(known)
    return owner is not None and owner.alive


def markdown(record: DriftRecord) -> str:
    """Describe a report on the page of its run."""
    report = record.report
    limit = report.tests[0].threshold
    answer = "**Drift**" if report.drift else report.answer.capitalize()
    rows = [
        f"| {test.name} | {test.words} | {_effect(test)} | {test.p_value:.2g} | {test.answer} |"
        for test in report.tests
    ]
    sentence = (
        f"{answer}: {report.batch_images:,} images of `{record.source.replace('`', ' ')}` "
        f"against {report.reference_images:,} validation images, as version {record.version} sees "
        "them."
    )
    if report.batch_copies:
        sentence += f" {report.batch_copies:,} copies were left out."
    if report.look is not None:
        sentence += f" Report {report.look:,} about this version."
    if report.expected is not None:
        sentence += f"\n\n{report.expected.sentence.capitalize()}."
    return "\n".join(
        [
            sentence,
            "",
            f"| test | these images | effect | p | shifted (p <= {limit:.2g}) |",
            "|---|---|---|---|---|",
            *rows,
        ]
    )


@contextlib.contextmanager
def _files(record: DriftRecord) -> Iterator[Path]:
    with scratch_folder(".showing-") as folder:
        text = record.model_dump_json(indent=2, exclude={"run_id"})
        (folder / "report.json").write_text(text, encoding="utf-8")
        if (figure := figure_of(record)).exists():
            shutil.copy(figure, folder / "drift.png")
        yield folder


def _name(record: DriftRecord) -> str:
    when = record.at.astimezone().strftime("%Y-%m-%d %H:%M")
    return f"drift {when} {Path(record.source).name} · {_answer(record)}"


def _answer(record: DriftRecord) -> str:
    return record.report.answer


def _effect(test: DriftTest) -> str:
    return "" if test.effect is None else f"{test.effect:.3f}"


def _metrics(record: DriftRecord) -> dict[str, float]:
    tests = record.report.tests
    metrics = {f"drift/{test.name}_p": test.p_value for test in tests}
    metrics |= {f"drift/{test.name}": test.statistic for test in tests}
    metrics |= {
        f"drift/{test.name}_effect": test.effect for test in tests if test.effect is not None
    }
    if (expected := record.report.expected) is not None:
        metrics["drift/accuracy_reference"] = expected.reference
        metrics |= {
            f"drift/accuracy_{one.method.lower()}": one.accuracy for one in expected.estimates
        }
    return metrics | {"drift/images": record.report.batch_images}


def _single(record: DriftRecord) -> SingleRun:
    return SingleRun(
        name=_name(record),
        tag=REPORT,
        id=record.id,
        source=MONITOR,
        note=markdown(record),
        at=int(record.at.timestamp() * 1000),
        facts={
            "drift.answer": _answer(record),
            "drift.version": str(record.version),
            "drift.batch": record.batch_digest,
        },
    )
