"""The value of data as one run of MLflow, named data-worth: record, page and figures."""

import shutil

from flows.records.data_value import folder_of
from flows.records.lineage import flattened
from flows.runtime.scratch import scratch_folder
from flows.tracking.experiment import DATA_WORTH
from flows.tracking.runs import Runs, metrics_of
from flows.tracking.single_run import SingleRun, log_once
from flows.tracking.store import Tracking, mlflow_errors
from models.evaluation.data_value.records import DataValue

VALUE = "data_worth.id"
"""Tag of such a run: the record's id."""


def log_value(tracking: Tracking, value: DataValue) -> str:
    """Log a record with the files beside it, unless MLflow has it whole; return its run's id.

    A run that was begun and not finished is completed. Raises TrackingError where MLflow fails,
    OSError where the files cannot be stored.
    """
    runs, at = Runs(tracking), int(value.at.timestamp() * 1000)
    single = SingleRun(
        name="data-worth",
        tag=VALUE,
        id=value.id,
        source=DATA_WORTH,
        note=f"Value of data of {value.dataset}: {value.sentence}",
        at=at,
    )
    with mlflow_errors():
        run_id, _ = log_once(runs, single, lambda run: _write(runs, run, value, at=at))
    return run_id


def _write(runs: Runs, run_id: str, value: DataValue, *, at: int) -> None:
    runs.log_params(run_id, flattened(value.config))
    for point in value.points:
        errors = {"data_worth/error": sum(point.errors) / len(point.errors)}
        runs.log_metrics(run_id, metrics_of(errors, at=at, step=round(point.images)))
    gain = {
        "data_worth/gain": value.gain.value,
        "data_worth/gain_low": value.gain.interval.low,
        "data_worth/gain_high": value.gain.interval.high,
    }
    runs.log_metrics(run_id, metrics_of(gain, at=at, step=0))
    with scratch_folder(".showing-") as folder:
        shutil.copytree(folder_of(value), folder / "files")
        runs.log_files(run_id, str(folder / "files"), under="report")
