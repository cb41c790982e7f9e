"""MLflow runs, written in as few requests as possible; every call names its run."""

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import TypeVar

from mlflow.entities import (
    Dataset,
    DatasetInput,
    InputTag,
    Metric,
    Param,
    Run,
    RunTag,
    ViewType,
)
from mlflow.utils.mlflow_tags import MLFLOW_DATASET_CONTEXT

from flows.records.lineage import DatasetFacts
from flows.tracking.store import Tracking, all_pages

MOST_FACTS, MOST_METRICS = 100, 1000
"""Most that MLflow accepts in one request."""

T = TypeVar("T")


class Runs:
    """The runs of one experiment."""

    def __init__(self, tracking: Tracking) -> None:
        self._tracking = tracking

    def create(self, name: str, *, tags: Mapping[str, str], at: int) -> str:
        """Begin a run, RUNNING since `at` (milliseconds); return its id."""
        run = self._tracking.client.create_run(
            self._tracking.experiment_id, start_time=at, tags=dict(tags), run_name=name
        )
        return str(run.info.run_id)

    def search(self, condition: str, *, view: int = ViewType.ACTIVE_ONLY) -> Iterator[Run]:
        """Every run that satisfies a condition in MLflow's filter language, newest first.

        view: one of MLflow's ViewType; by default runs that are not deleted.
        """
        search, experiments = self._tracking.client.search_runs, [self._tracking.experiment_id]
        return all_pages(lambda token: search(experiments, condition, view, page_token=token))

    def find(self, condition: str) -> Run | None:
        """Return the newest run that satisfies a condition."""
        return next(self.search(condition), None)

    def end(self, run_id: str, status: str, *, at: int) -> None:
        """Close a run at a time (milliseconds)."""
        self._tracking.client.set_terminated(run_id, status, at)

    def rename(self, run_id: str, name: str) -> None:
        """Give a run another name."""
        self._tracking.client.update_run(run_id, name=name)

    def log_params(self, run_id: str, params: Mapping[str, str]) -> None:
        """Log params; repeating is harmless, and MLflow refuses another value for a name."""
        for chunk in _chunks([Param(*item) for item in params.items()], MOST_FACTS):
            self._tracking.client.log_batch(run_id, params=chunk)

    def set_tags(self, run_id: str, tags: Mapping[str, str]) -> None:
        """Set tags."""
        for chunk in _chunks([RunTag(*item) for item in tags.items()], MOST_FACTS):
            self._tracking.client.log_batch(run_id, tags=chunk)

    def log_metrics(self, run_id: str, metrics: Sequence[Metric]) -> None:
        """Log metrics; one that MLflow has (name, value, time and step) is not repeated."""
        for chunk in _chunks(metrics, MOST_METRICS):
            self._tracking.client.log_batch(run_id, metrics=chunk)

    def steps(self, run_id: str, metric: str) -> set[int]:
        """Steps that MLflow has of a metric."""
        history = self._tracking.client.get_metric_history(run_id, metric)
        return {point.step for point in history}

    def log_dataset(self, run_id: str, facts: DatasetFacts, *, context: str) -> None:
        """Log which version of the data a run used, by whose digest MLflow then finds it."""
        # As mlflow.data's MetaDataset over a CodeDatasetSource writes it, without its imports.
        source = json.dumps({"tags": facts.model_dump(exclude_none=True)})
        dataset = Dataset(facts.name, facts.mlflow_digest, "code", source)
        tags = [InputTag(MLFLOW_DATASET_CONTEXT, context)]
        self._tracking.client.log_inputs(run_id, [DatasetInput(dataset, tags)])

    def log_files(self, run_id: str, directory: str, *, under: str) -> None:
        """Copy a folder into a run's artifacts."""
        self._tracking.client.log_artifacts(run_id, directory, under or None)


def metrics_of(values: Mapping[str, float], *, at: int, step: int) -> list[Metric]:
    """Metrics of one moment and step, as pages show them: five digits that count.

    Nothing reads them back; trials and reports have all digits.
    """
    return [Metric(name, as_shown(value), at, step) for name, value in values.items()]


def as_shown(value: float) -> float:
    """Return a number with five digits that count; a whole one with all."""
    return value if float(value).is_integer() else float(f"{value:.5g}")


def _chunks(items: Sequence[T], length: int) -> Iterator[Sequence[T]]:
    for start in range(0, len(items), length):
        yield items[start : start + length]
