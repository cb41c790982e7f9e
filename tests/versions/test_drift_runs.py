"""Drift reports as runs of MLflow: owned, ended, rebuilt, removed, and in a view of their own."""

import json
import os
import sqlite3
import time
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from mlflow.exceptions import MlflowException
from registry_records import BARS, DEAD
from training_fixtures import bars_images

from flows.records.drift_reports import DriftRecord, drift_records, files_of
from flows.tracking import single_run
from flows.tracking.drift import log_report
from flows.tracking.experiment import LEAD
from flows.tracking.reconcile import reconcile, sync_runs
from flows.tracking.runs import Runs
from flows.tracking.store import Tracking, open_tracking
from flows.upkeep.doctor.databases import mlflow_database
from flows.upkeep.retention import RequiredRecords, drift_reports, remove, retrainings
from flows.versions.monitor import monitor_version
from models.config import DriftParams, RetentionParams
from models.datasets.batches import write_batch
from models.datasets.labelled_images import PixelRows
from models.datasets.prepared import read_manifest

pytest_plugins = ["registry_fixtures", "registry_project"]

FEW = DriftParams(minimum_images=20, permutations=199)
LONG_AGO = time.time() - 400 * 86_400
VIEW = "mlflow.sharedViewState."


@pytest.fixture(autouse=True)
def _same_dataset(bars: Path) -> None:
    """The prepared bars go by the name that the versions' lineage gives."""
    manifest = read_manifest(bars / "data/prepared").model_copy(update={"name": "digits"})
    (bars / "data/prepared/manifest.json").write_text(manifest.model_dump_json())


def asked(tracking: Tracking, *, seed: int = 1) -> DriftRecord:
    """Monitor a batch of sixty images."""
    images = bars_images(60, seed=seed)
    rows = PixelRows(
        images.transpose(0, 2, 3, 1), images[:, 0, 0, 0].astype("i8") % 3, (None,) * 60
    )
    source = Path(f"night-{seed}.parquet")
    write_batch(source, ("top", "middle", "bottom"), [rows])
    return monitor_version(tracking, source, FEW, version="1")


def drift_runs(tracking: Tracking) -> list[Any]:
    return list(Runs(tracking).search("tags.`drift.report` != ''"))


def fail(*_: object, **__: object) -> None:
    raise MlflowException("database is locked")


def test_a_run_left_by_a_dead_process_is_seen_and_closed(
    bars_tracking: Tracking, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Doctor names it, reconcile ends it as KILLED, and the next call completes it."""
    record = asked(bars_tracking)
    with monkeypatch.context() as patch:
        patch.setattr(single_run, "this_process", lambda: DEAD)
        patch.setattr(Runs, "end", lambda *_, **__: None)
        other = asked(bars_tracking, seed=2)
    assert ["1 runs are RUNNING" in one.what for one in mlflow_database()] == [True]
    assert reconcile(bars_tracking) == 1
    statuses = {run.info.run_id: run.info.status for run in drift_runs(bars_tracking)}
    assert statuses == {record.run_id: "FINISHED", other.run_id: "KILLED"}
    assert log_report(bars_tracking, other) == other.run_id
    assert bars_tracking.client.get_run(other.run_id or "").info.status == "FINISHED"


def test_what_goes_wrong_ends_the_run_as_failed_and_the_report_stays(
    bars_tracking: Tracking, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """A disk that is full: said, not raised; asked again, the same run is completed."""
    with monkeypatch.context() as patch:
        patch.setattr(
            Runs, "log_files", lambda *_, **__: (_ for _ in ()).throw(OSError(28, "full"))
        )
        record = asked(bars_tracking)
    [failed] = drift_runs(bars_tracking)
    assert (failed.info.status, record.run_id) == ("FAILED", None)
    assert "pitchpipe sync" in caplog.text
    assert drift_records(BARS) == [record]
    assert list(Path("mlruns").glob(".showing-*")) == []
    again = asked(bars_tracking)
    assert again.run_id == failed.info.run_id
    assert [run.info.status for run in drift_runs(bars_tracking)] == ["FINISHED"]


def test_an_outage_loses_no_report(
    bars_tracking: Tracking, monkeypatch: pytest.MonkeyPatch
) -> None:
    """MLflow takes no run: the report is remembered, and `sync` shows it, with its figure."""
    with monkeypatch.context() as patch:
        patch.setattr(Runs, "create", fail)
        record = asked(bars_tracking)
    assert (drift_runs(bars_tracking), record.run_id) == ([], None)
    assert sync_runs(bars_tracking).told == ("drift of night-1.parquet",)
    [run] = drift_runs(bars_tracking)
    assert run.info.status == "FINISHED"
    assert [one.run_id for one in drift_records(BARS)] == [run.info.run_id]
    files = bars_tracking.client.list_artifacts(run.info.run_id, "drift")
    assert [file.path for file in files] == ["drift/drift.png", "drift/report.json"]
    assert (sync_runs(bars_tracking).told, sync_runs(bars_tracking).whole) == ((), 1)


def test_a_lost_database_is_filled_again(bars_tracking: Tracking) -> None:
    """Name, times, metrics and tags are those of before."""
    asked(bars_tracking)
    [before] = drift_runs(bars_tracking)
    bars_tracking.client._tracking_client.store.engine.dispose()
    for file in Path("mlruns").glob("mlflow.db*"):
        file.unlink()
    rebuilt = open_tracking(BARS)
    assert sync_runs(rebuilt).told != ()
    [after] = drift_runs(rebuilt)
    assert told(after) == told(before)


def told(run: Any) -> tuple[Any, ...]:
    tags = {
        name: value for name, value in run.data.tags.items() if name != "mlflow.pitchpipe.owner"
    }
    info = run.info
    return info.run_name, info.start_time, info.end_time, run.data.metrics, tags


def test_a_living_process_is_left_to_its_work(
    bars_tracking: Tracking, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What it has begun to show is not shown by `sync` at the same time."""
    with monkeypatch.context() as patch:
        patch.setattr(Runs, "end", lambda *_, **__: None)
        asked(bars_tracking)
    assert sync_runs(bars_tracking).told == ()
    assert [run.info.status for run in drift_runs(bars_tracking)] == ["RUNNING"]


def test_gc_removes_old_reports_whole(bars_tracking: Tracking) -> None:
    """By the days of retrainings: record, figure, artifacts, run; a young one stays."""
    old, young = asked(bars_tracking), asked(bars_tracking, seed=2)
    for path in files_of(old):
        os.utime(path, (LONG_AGO, LONG_AGO))
    with closing(sqlite3.connect("mlruns/mlflow.db")) as connection, connection:
        ended = "update runs set end_time = ? where run_uuid = ?"
        connection.execute(ended, (int(LONG_AGO * 1000), old.run_id))
    artifacts = list(Path("mlruns/artifacts").glob(f"*/{old.run_id}"))
    assert len(artifacts) == 1
    policy = RetentionParams()
    cleaning = remove(tuple(drift_reports(bars_tracking, policy)), dry_run=False)
    assert [item.kind for item in cleaning.removed] == ["drift report"]
    assert cleaning.removed[0].bytes > 0
    assert [item.why for item in cleaning.kept] == ["not older than 180 days"]
    assert not any(path.exists() for path in (*files_of(old), *artifacts))
    assert [run.info.run_id for run in drift_runs(bars_tracking)] == [young.run_id]
    assert sync_runs(bars_tracking).told == ()
    needs = RequiredRecords({}, frozenset())
    assert not any("drift" in one.item().name for one in retrainings(bars_tracking, policy, needs))


def test_a_report_that_mlflow_never_saw_goes_too(
    bars_tracking: Tracking, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its files are all there is."""
    with monkeypatch.context() as patch:
        patch.setattr(Runs, "create", fail)
        record = asked(bars_tracking)
    for path in files_of(record):
        os.utime(path, (LONG_AGO, LONG_AGO))
    remove(tuple(drift_reports(bars_tracking, RetentionParams())), dry_run=False)
    assert drift_records(BARS) == []


def test_each_view_lists_its_own(bars_tracking: Tracking) -> None:
    """Retrainings with their trials, imported versions too, no report and no range test; reports
    alone.
    """
    record, runs = asked(bars_tracking), Runs(bars_tracking)
    others = {
        runs.create(name, tags={"mlflow.source.name": f"pitchpipe {name}"}, at=1)
        for name in ("run", "import")
    }
    runs.create("lr-find", tags={"mlflow.source.name": "pitchpipe lr-find"}, at=1)
    tags = bars_tracking.client.get_experiment(bars_tracking.experiment_id).tags
    views = {name: state_of(tags[VIEW + name]) for name in ("retrainings", "drift")}
    listed = {run.info.run_id for run in runs.search(views["retrainings"]["searchFilter"])}
    assert listed == others
    assert [run.info.run_id for run in runs.search(views["drift"]["searchFilter"])] == [
        record.run_id
    ]
    [run] = drift_runs(bars_tracking)
    shown = {f"metrics.`{name}`" for name in run.data.metrics}
    shown |= {f"tags.`{name}`" for name in run.data.tags}
    assert set(views["drift"]["selectedColumns"]) <= shown
    assert "viewStateShareKey=drift&" in tags["mlflow.note.content"]
    first = ["tags.`verdict`", "tags.`champion`", f"metrics.`{LEAD}`", "metrics.`test/accuracy`"]
    assert views["retrainings"]["selectedColumns"][:4] == first


def test_a_view_of_an_earlier_release_is_renewed_and_one_that_somebody_saved_is_kept(
    bars_tracking: Tracking,
) -> None:
    """The UI gives what is saved in it another time."""
    client, of = bars_tracking.client, bars_tracking.experiment_id
    now = client.get_experiment(of).tags
    older = json.loads(now[VIEW + "drift"]) | {"state": "{}"}
    kept = json.dumps(older | {"updatedAt": older["updatedAt"] + 1})
    client.set_experiment_tag(of, VIEW + "drift", json.dumps(older))
    client.set_experiment_tag(of, VIEW + "trials", kept)
    client.set_experiment_tag(of, VIEW + "retrainings", "no JSON")

    again = open_tracking(bars_tracking.name)
    tags = client.get_experiment(again.experiment_id).tags

    assert state_of(tags[VIEW + "drift"]) == state_of(now[VIEW + "drift"])
    assert tags[VIEW + "trials"] == kept
    assert tags[VIEW + "retrainings"] == "no JSON"


def state_of(view: str) -> Any:
    return json.loads(json.loads(view)["state"])
