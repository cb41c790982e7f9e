"""The mirror into MLflow: shape, liveness, outages, and being told twice."""

import itertools
import shutil
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from mlflow.entities import Run
from mlflow.exceptions import MlflowException
from registry_records import (
    DATASET,
    NAME,
    epoch_record,
    flow_run_info,
    store_history,
    trial_failure,
    trial_result,
    trial_spec,
)

from flows.tracking import writer
from flows.tracking.mirror import Mirror
from flows.tracking.reconcile import sync_runs
from flows.tracking.runs import Runs, metrics_of
from flows.tracking.store import Tracking, TrackingError, open_tracking

pytest_plugins = ["registry_fixtures"]


def children_of(tracking: Tracking, parent: str | None) -> list[Run]:
    condition = f"tags.`mlflow.parentRunId` = '{parent}'"
    return sorted(Runs(tracking).search(condition), key=lambda run: run.info.run_name)


def mirror_two_trials(tracking: Tracking) -> Mirror:
    """One trial trained live and one from the store, finished."""
    mirror = Mirror(tracking, flow_run_info())
    live, cached = trial_spec(0.001), trial_spec(0.003)
    store_history(Path("mlruns/trials"), cached, epochs=2)
    mirror.trial_started(live, {"learning_rate": "0.001"}, cached=False)
    mirror.trial_started(cached, {"learning_rate": "0.003"}, cached=True)
    for epoch in (1, 2):
        mirror.epoch(live.key, epoch_record(epoch))
    mirror.trial_finished(trial_result(live))
    mirror.trial_finished(trial_result(cached))
    mirror.log_metrics({"test/accuracy": 0.97})
    return mirror


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (0.9810725552050473, 0.98107),
        (5.187927601e-07, 5.1879e-07),
        (123456.0, 123456.0),
        (123456.7, 123460.0),
        (-0.024193548387, -0.024194),
        (0.0, 0.0),
        (float("inf"), float("inf")),
    ],
)
def test_metrics_have_the_digits_that_a_page_shows(value: float, shown: float) -> None:
    """Five that count, of small p-values as of accuracies; counts are whole."""
    [metric] = metrics_of({"name": value}, at=7, step=2)

    assert (metric.key, metric.value, metric.timestamp, metric.step) == ("name", shown, 7, 2)


def test_a_retraining_is_a_parent_run_with_a_child_for_each_trial(tracking: Tracking) -> None:
    """Params, epochs, scores, dataset and state of each trial are found in MLflow."""
    mirror = mirror_two_trials(tracking)
    report = mirror.finish("FINISHED", verdict="PROMOTE v1")
    assert report.whole
    parent = tracking.client.get_run(mirror.wait_for_parent())
    assert parent.info.run_name == "2026-11-23 06:40 digits · PROMOTE v1"
    assert parent.info.status == "FINISHED"
    assert parent.data.params == {"search.epochs": "2"}
    assert parent.data.metrics == {"test/accuracy": 0.97}
    live, cached = children_of(tracking, mirror.parent_run_id)
    assert [live.info.run_name, cached.info.run_name] == [
        "lr=0.001 · 2026-11-23 06:40",
        "lr=0.003 · 2026-11-23 06:40",
    ]
    assert [run.data.tags["trial.cached"] for run in (live, cached)] == ["false", "true"]
    for run in (live, cached):
        assert run.info.status == "FINISHED"
        assert run.data.params["network.channels"] == "[4, 4]"
        assert run.data.metrics["best/accuracy"] == 0.9
        history = tracking.client.get_metric_history(run.info.run_id, "validation/accuracy")
        assert [(point.step, point.value) for point in history] == [(1, 0.4), (2, 0.7)]


def test_runs_are_found_by_the_data_that_they_used(tracking: Tracking) -> None:
    """MLflow's own dataset filter finds parent and children by DVC's hash."""
    mirror_two_trials(tracking).finish("FINISHED")
    found = Runs(tracking).search(f"dataset.digest = '{DATASET.dvc_md5}'")
    assert len(list(found)) == 3


def test_an_epoch_is_visible_within_three_seconds(tracking: Tracking) -> None:
    """While the trial still runs, its epochs are in MLflow."""
    mirror = Mirror(tracking, flow_run_info())
    spec = trial_spec()
    mirror.trial_started(spec, {}, cached=False)
    began = time.monotonic()
    mirror.epoch(spec.key, epoch_record(1))
    assert mirror.flush(timeout=3)
    [child] = children_of(tracking, mirror.parent_run_id)
    assert child.data.metrics["train/loss"] == 1.0
    assert child.info.run_name == "the only trial · 2026-11-23 06:40"
    assert child.info.status == "RUNNING"
    assert time.monotonic() - began < 3
    mirror.finish("FINISHED")


def test_a_failed_trial_is_shown_as_failed_with_its_reason(tracking: Tracking) -> None:
    """A failure is a recorded result."""
    mirror = Mirror(tracking, flow_run_info())
    spec = trial_spec()
    mirror.trial_started(spec, {}, cached=False)
    mirror.trial_finished(trial_failure(spec))
    mirror.finish("FAILED")
    [child] = children_of(tracking, mirror.parent_run_id)
    assert child.info.status == "FAILED"
    assert child.data.tags["failure"] == "diverged: loss is nan in epoch 2"
    assert tracking.client.get_run(mirror.wait_for_parent()).info.status == "FAILED"


def test_trials_without_an_end_are_closed_with_their_retraining(tracking: Tracking) -> None:
    """Nothing stays RUNNING below a retraining that was stopped."""
    mirror = Mirror(tracking, flow_run_info())
    mirror.trial_started(trial_spec(), {}, cached=False)
    mirror.finish("KILLED")
    [child] = children_of(tracking, mirror.parent_run_id)
    assert child.info.status == "KILLED"


def test_a_resumed_trial_shows_the_epochs_it_was_trained_before(tracking: Tracking) -> None:
    """Epochs of an earlier process are taken from the trial's directory, each once."""
    spec = trial_spec()
    store_history(Path("mlruns/trials"), spec, epochs=3)
    mirror = Mirror(tracking, flow_run_info())
    mirror.trial_started(spec, {}, cached=False)
    mirror.epoch(spec.key, epoch_record(3))
    mirror.trial_finished(trial_result(spec, epochs=3))
    mirror.finish("FINISHED")
    [child] = children_of(tracking, mirror.parent_run_id)
    history = tracking.client.get_metric_history(child.info.run_id, "train/loss")
    assert sorted(point.step for point in history) == [1, 2, 3]


def test_a_run_id_in_the_environment_does_not_disturb(
    tracking: Tracking, monkeypatch: pytest.MonkeyPatch
) -> None:
    """MLFLOW_RUN_ID, which in MLflow's fluent API beats a parent (mlflow #15713), is inert."""
    stranger = tracking.client.create_run(tracking.experiment_id).info.run_id
    monkeypatch.setenv("MLFLOW_RUN_ID", stranger)
    mirror = mirror_two_trials(tracking)
    mirror.finish("FINISHED")
    assert mirror.parent_run_id != stranger
    assert len(children_of(tracking, mirror.parent_run_id)) == 2
    assert tracking.client.get_run(stranger).data.metrics == {}


class Outage:
    """Requests fail while it is down; the n-th fails once, before or after it was done."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, tracking: Tracking) -> None:
        self.down = False
        self.failing: int | None = None
        self.answer_lost = False
        self.requests = 0
        for name in ("create_run", "log_batch", "log_inputs", "set_terminated", "search_runs"):
            monkeypatch.setattr(
                tracking.client, name, self._wrapped(getattr(tracking.client, name))
            )

    def _wrapped(self, real: Callable[..., object]) -> Callable[..., object]:
        def request(*args: object, **kwargs: object) -> object:
            self.requests += 1
            fails = self.down or self.requests == self.failing
            if fails and (self.down or not self.answer_lost):
                raise MlflowException("API request failed: connection refused")
            answer = real(*args, **kwargs)
            if fails:
                raise MlflowException("API request failed: connection reset by peer")
            return answer

        return request


def test_an_outage_holds_nothing_up_and_loses_nothing(
    tracking: Tracking, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Told while MLflow is down, everything is there once it is back."""
    outage = Outage(monkeypatch, tracking)
    outage.down = True
    began = time.monotonic()
    mirror = mirror_two_trials(tracking)
    assert time.monotonic() - began < 0.5
    assert not mirror.flush(timeout=0.6)
    outage.down = False
    assert mirror.finish("FINISHED").whole
    assert len(children_of(tracking, mirror.parent_run_id)) == 2


@pytest.mark.parametrize("answer_lost", [False, True])
def test_any_request_may_fail_once_and_nothing_is_missing_or_doubled(
    tracking: Tracking, monkeypatch: pytest.MonkeyPatch, *, answer_lost: bool
) -> None:
    """Whichever request fails: one run a trial, one point an epoch."""
    monkeypatch.setattr(writer, "FIRST_PAUSE", 0.001)
    outage = Outage(monkeypatch, tracking)
    outage.answer_lost = answer_lost
    for failing in itertools.count(1):
        outage.requests, outage.failing = 0, failing
        mirror = mirror_two_trials(tracking)
        assert mirror.finish("FINISHED").whole
        made, outage.failing = outage.requests, None
        children = children_of(tracking, mirror.parent_run_id)
        assert len(children) == 2
        for child in children:
            history = tracking.client.get_metric_history(child.info.run_id, "train/loss")
            assert [point.step for point in history] == [1, 2]
        if made < failing:
            break
    assert failing > 15


def test_registering_says_so_when_mlflow_has_not_taken_the_retraining(
    tracking: Tracking, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who needs the parent's id while MLflow is down is told what to do."""
    Outage(monkeypatch, tracking).down = True
    mirror = Mirror(tracking, flow_run_info())
    with pytest.raises(TrackingError, match="MLFLOW_TRACKING_URI"):
        mirror.wait_for_parent(timeout=0.05)
    mirror.finish("FAILED", timeout=0)


def test_what_mlflow_never_took_is_reported_and_brought_by_sync(
    tracking: Tracking, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Down until the end: the report counts what waits; sync completes it, and once is enough."""
    outage = Outage(monkeypatch, tracking)
    outage.down = True
    mirror = mirror_two_trials(tracking)
    report = mirror.finish("FINISHED", timeout=0.1)
    assert not report.whole
    assert report.waiting == 9
    outage.down = False
    assert sync_runs(tracking).told == ("2026-11-23 06:40 digits",)
    [parent] = Runs(tracking).search(f"tags.`pitchpipe.journal` = '{mirror.flow_run.id}'")
    assert parent.info.status == "FINISHED"
    assert [run.info.status for run in children_of(tracking, parent.info.run_id)] == [
        "FINISHED",
        "FINISHED",
    ]
    assert (sync_runs(tracking).told, sync_runs(tracking).whole) == ((), 1)


def test_sync_rebuilds_an_empty_store(
    mlflow_project: Path, migrated_database: Path, tracking: Tracking
) -> None:
    """With the database gone, runs come back from journals and trial directories."""
    mirror = mirror_two_trials(tracking)
    mirror.finish("FINISHED", verdict="HOLD")
    before = children_of(tracking, mirror.parent_run_id)
    for path in (mlflow_project / "mlruns").glob("mlflow.db*"):
        path.unlink()
    fresh = mlflow_project / "mlruns/fresh.db"
    shutil.copy(migrated_database / "mlflow.db", fresh)
    other = Tracking(uri=f"sqlite:///{fresh}", name=NAME)
    assert len(sync_runs(other).told) == 1
    [parent] = Runs(other).search("tags.`pitchpipe.journal` != ''")
    assert parent.info.run_name == "2026-11-23 06:40 digits · HOLD"
    after = children_of(other, parent.info.run_id)
    assert [run.data.params for run in after] == [run.data.params for run in before]
    assert after[1].data.metrics == before[1].data.metrics


def test_what_mlflow_refuses_is_dropped_and_the_rest_goes_on(tracking: Tracking) -> None:
    """A metric name that MLflow does not allow costs that metric only."""
    mirror = Mirror(tracking, flow_run_info())
    mirror.log_metrics({"no\nsuch": 1.0})
    mirror.log_metrics({"test/accuracy": 0.5})
    report = mirror.finish("FINISHED")
    assert (report.waiting, len(report.refused)) == (0, 1)
    assert "no\\nsuch" in report.refused[0] or "no such" in report.refused[0]
    parent = tracking.client.get_run(mirror.wait_for_parent())
    assert parent.data.metrics == {"test/accuracy": 0.5}


def test_artifacts_are_copied_below_the_parent(tracking: Tracking, tmp_path: Path) -> None:
    """A report's folder is found in MLflow under its name."""
    (tmp_path / "report").mkdir()
    (tmp_path / "report" / "report.html").write_text("<p>good</p>")
    mirror = Mirror(tracking, flow_run_info())
    mirror.log_artifacts(tmp_path / "report", under="report")
    mirror.finish("FINISHED")
    found = tracking.client.list_artifacts(mirror.wait_for_parent(), "report")
    assert [file.path for file in found] == ["report/report.html"]


def test_open_tracking_names_the_experiment_after_the_registered_name(tracking: Tracking) -> None:
    """The experiment is described in Markdown and stores artifacts by a relative path."""
    again = open_tracking(NAME)
    experiment = again.client.get_experiment(again.experiment_id)
    assert again.experiment_id == tracking.experiment_id
    assert experiment.artifact_location == f"mlruns/artifacts/{NAME}"
    assert "@champion" in experiment.tags["mlflow.note.content"]
