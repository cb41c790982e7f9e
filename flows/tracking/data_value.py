"""The value of data as one run of MLflow, named data-worth: record, page and figures."""

import shutil

from mlflow.utils.mlflow_tags import MLFLOW_RUN_NOTE, MLFLOW_SOURCE_NAME, MLFLOW_SOURCE_TYPE

from flows.records.data_value import folder_of
from flows.records.lineage import flattened
from flows.runtime.scratch import scratch_folder
from flows.tracking.experiment import DATA_WORTH
from flows.tracking.projection import OWNER
from flows.tracking.runs import Runs, metrics_of
from flows.tracking.store import Tracking, mlflow_errors
from models.evaluation.data_value.records import DataValue
from models.processes import this_process

VALUE = "data_worth.id"
"""Tag of such a run: the record's id."""


def log_value(tracking: Tracking, value: DataValue) -> str:
    """Log a record with the files beside it, unless MLflow has it whole; return its run's id.

    A run that was begun and not finished is completed. Raises TrackingError where MLflow fails,
    OSError where the files cannot be stored.
    """
    with mlflow_errors():
        runs, at = Runs(tracking), int(value.at.timestamp() * 1000)
        known = runs.find(f"tags.`{VALUE}` = '{value.id}'")
        if known is not None and known.info.status == "FINISHED":
            return str(known.info.run_id)
        run_id = str(
            known.info.run_id if known else runs.create("data-worth", tags=_tags(value), at=at)
        )
        runs.log_params(run_id, flattened(value.config))
        for point in value.points:
            mean = sum(point.errors) / len(point.errors)
            errors = {"data_worth/error": mean}
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
        runs.end(run_id, "FINISHED", at=at)
    return run_id


def _tags(value: DataValue) -> dict[str, str]:
    return {
        MLFLOW_SOURCE_NAME: DATA_WORTH,
        MLFLOW_SOURCE_TYPE: "PROJECT",
        MLFLOW_RUN_NOTE: f"Value of data of {value.dataset}: {value.sentence}",
        OWNER: this_process().model_dump_json(),
        VALUE: value.id,
    }
