"""A learning rate range test as one run of MLflow, named lr-find: its curve, figure and answer."""

import shutil

from flows.records.lineage import flattened
from flows.records.range_tests import RangeTestRecord, range_figure_of
from flows.runtime.scratch import scratch_folder
from flows.tracking.experiment import LR_FIND
from flows.tracking.runs import Runs, metrics_of
from flows.tracking.single_run import SingleRun, log_once
from flows.tracking.store import Tracking, mlflow_errors

RANGE_TEST = "lr_find.test"
"""Tag of such a run: the record's id."""


def log_range_test(tracking: Tracking, record: RangeTestRecord) -> str:
    """Log a range test, unless MLflow has it whole, and return its run's id.

    A run that was begun and not finished is completed. Raises TrackingError where MLflow fails,
    OSError where the files cannot be stored.
    """
    runs, at = Runs(tracking), int(record.at.timestamp() * 1000)
    suggested = "none" if record.suggested is None else f"{record.suggested:.2g}"
    single = SingleRun(
        name="lr-find",
        tag=RANGE_TEST,
        id=record.id,
        source=LR_FIND,
        note=f"Learning rate range test on {record.dataset}: suggests {suggested}.",
        at=at,
    )
    with mlflow_errors():
        run_id, _ = log_once(runs, single, lambda run: _write(runs, run, record, at=at))
    return run_id


def _write(runs: Runs, run_id: str, record: RangeTestRecord, *, at: int) -> None:
    runs.log_params(run_id, flattened(record.config))
    _log_curve(runs, run_id, record, at=at)
    with scratch_folder(".showing-") as folder:
        text = record.model_dump_json(indent=2, exclude={"run_id"})
        (folder / "lr_find.json").write_text(text, encoding="utf-8")
        shutil.copy(range_figure_of(record), folder / "lr_find.png")
        runs.log_files(run_id, str(folder), under="lr_find")


def _log_curve(runs: Runs, run_id: str, record: RangeTestRecord, *, at: int) -> None:
    test = record.test
    points = [
        metrics_of(
            {"lr_find/rate": rate, "lr_find/loss": loss, "lr_find/smoothed": smoothed},
            at=at,
            step=step,
        )
        for step, (rate, loss, smoothed) in enumerate(
            zip(test.rates, test.losses, test.smoothed, strict=True), 1
        )
    ]
    answer = {} if record.suggested is None else {"lr_find/suggested": record.suggested}
    metrics = [metric for step in points for metric in step]
    runs.log_metrics(run_id, [*metrics, *metrics_of(answer, at=at, step=0)])
