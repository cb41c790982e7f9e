"""Runs that the dead left behind, and opening the store: moves, races, deleted experiments."""

import contextlib
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest
from mlflow.exceptions import MlflowException
from mlflow.protos.databricks_pb2 import INVALID_PARAMETER_VALUE, REQUEST_LIMIT_EXCEEDED
from project_folder import REPOSITORY
from registry_records import DEAD, NAME, flow_run_info, trial_spec
from sqlalchemy.exc import OperationalError, ProgrammingError

from flows.tracking.events import JOURNALS, Journal
from flows.tracking.mirror import Mirror
from flows.tracking.reconcile import reconcile, sync_runs
from flows.tracking.runs import Runs
from flows.tracking.store import Tracking, TrackingError, mlflow_errors, open_tracking
from models.errors import ConfigError, can_heal
from models.processes import this_process

pytest_plugins = ["registry_fixtures"]


def run_python(code: str, *arguments: str) -> subprocess.Popen[bytes]:
    """Start a process with pitchpipe importable, in the working directory."""
    return subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(code), *arguments],
        env={**os.environ, "PYTHONPATH": f"{REPOSITORY}:{REPOSITORY / 'tests/support'}"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )


def test_runs_of_a_killed_process_are_closed(tracking: Tracking) -> None:
    """After kill -9 the parent and its child are KILLED, with the reason."""
    process = run_python(
        """
        import signal
        from registry_records import NAME, flow_run_info, trial_spec
        from flows.tracking.mirror import Mirror
        from flows.tracking.store import open_tracking
        mirror = Mirror(open_tracking(NAME), flow_run_info())
        mirror.trial_started(trial_spec(), {}, cached=False)
        mirror.flush()
        print("ready", flush=True)
        signal.pause()
        """
    )
    assert process.stdout is not None
    assert process.stdout.readline() == b"ready\n"
    assert reconcile(tracking) == 0
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert reconcile(tracking) == 2
    runs = list(Runs(tracking).search(""))
    assert {run.info.status for run in runs} == {"KILLED"}
    assert all(f"process {process.pid} died" in run.data.tags["killed"] for run in runs)
    assert all(run.info.end_time for run in runs)
    assert reconcile(tracking) == 0


def test_a_reused_process_number_is_not_mistaken_for_the_owner(tracking: Tracking) -> None:
    """The number lives, but the process began at another time: the run is closed."""
    owner = this_process().model_copy(update={"started": 1.0})
    mirror = Mirror(tracking, flow_run_info().model_copy(update={"owner": owner}))
    mirror.flush()
    assert reconcile(tracking) == 1
    mirror.finish("FINISHED")


@pytest.mark.parametrize("host", ["elsewhere", None])
def test_runs_of_others_are_left_alone(tracking: Tracking, host: str | None) -> None:
    """A run of another host, or of no owner at all, stays RUNNING."""
    owner = DEAD.model_copy(update={"host": host}) if host else None
    tags = {"pitchpipe.owner": owner.model_dump_json()} if owner else {}
    run_id = Runs(tracking).create("theirs", tags=tags, at=1)
    assert reconcile(tracking) == 0
    assert tracking.client.get_run(run_id).info.status == "RUNNING"


def test_sync_closes_what_a_killed_retraining_left_and_is_then_done(tracking: Tracking) -> None:
    """A journal without an end, its owner dead: told, closed as KILLED, and not told again."""
    info = flow_run_info().model_copy(update={"owner": DEAD})
    mirror = Mirror(tracking, info)
    mirror.trial_started(trial_spec(), {}, cached=False)
    mirror.flush()
    assert sync_runs(tracking).told == (info.name,)
    assert {run.info.status for run in Runs(tracking).search("")} == {"KILLED"}
    assert sync_runs(tracking).told == ()


def three_untold() -> list[str]:
    """Journals of three retrainings of which MLflow knows nothing; names, oldest first."""
    names = []
    for number in range(3):
        info = flow_run_info(f"retraining {number}").model_copy(update={"owner": DEAD})
        journal = Journal(info, JOURNALS / NAME)
        journal.write(info)
        os.utime(JOURNALS / NAME / f"{info.id}.jsonl", (number, number))
        names.append(info.name)
    return names


@pytest.mark.parametrize(
    "fault", [MlflowException("no", INVALID_PARAMETER_VALUE), MlflowException("?"), KeyError("k")]
)
def test_one_refused_retraining_does_not_keep_sync_from_the_others(
    tracking: Tracking, monkeypatch: pytest.MonkeyPatch, fault: Exception
) -> None:
    """It is named, the later ones are told, and the next sync tries it again."""
    first, second, third = three_untold()
    create = Runs.create

    def refusing(self: Runs, name: str, *, tags: dict[str, str], at: int) -> str:
        if name == second:
            raise fault
        return create(self, name, tags=tags, at=at)

    with monkeypatch.context() as patch:
        patch.setattr(Runs, "create", refusing)
        report = sync_runs(tracking)
    assert report.told == (first, third)
    [refused] = report.refused
    assert type(fault).__name__ in refused
    assert sync_runs(tracking).told == (second,)


def test_sync_raises_while_mlflow_is_down(
    tracking: Tracking, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An outage is no refusal: nothing is said to be refused."""
    three_untold()

    def down(*_: object, **__: object) -> None:
        raise MlflowException("connection refused")

    _ = tracking.experiment_id
    monkeypatch.setattr(Runs, "create", down)
    monkeypatch.setattr(tracking.client, "get_experiment", down)
    with pytest.raises(TrackingError, match="connection refused"):
        sync_runs(tracking)


def test_first_opens_at_once_leave_one_sound_database(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Three processes that open a missing database all succeed and agree on the experiment."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "sqlite:///mlruns/mlflow.db")
    code = f"""
        from flows.tracking.store import open_tracking
        print(open_tracking({NAME!r}).experiment_id)
        """
    processes = [run_python(code) for _ in range(3)]
    answers = [process.communicate() for process in processes]
    assert [out for out, _ in answers] == [b"1\n"] * 3, answers
    assert sorted(path.name for path in tmp_path.iterdir()) == ["mlruns"]


def test_a_kill_while_the_schema_is_made_leaves_no_database(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Migrations of SQLite are no transactions: half of one would stop every later start."""

    class Killed(BaseException):
        """The process died here."""

    def dying(*_: object, **__: object) -> None:
        raise Killed

    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "sqlite:///mlruns/mlflow.db")
    monkeypatch.setattr("mlflow.store.db.utils._upgrade_db", dying)

    with pytest.raises(Killed):
        open_tracking(NAME)

    assert not Path("mlruns/mlflow.db").exists()


def test_a_database_that_is_none_is_an_error_with_a_way_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Bytes that are no SQLite give one message with the path."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "sqlite:///mlruns/mlflow.db")
    (tmp_path / "mlruns").mkdir()
    (tmp_path / "mlruns/mlflow.db").write_bytes(b"not a database at all" * 100)
    with pytest.raises(TrackingError, match=r"file is not a database.*move it away") as raised:
        open_tracking(NAME)
    assert "MLFLOW_TRACKING_URI" not in str(raised.value)
    assert not can_heal(raised.value)


def test_a_database_that_another_process_holds_may_heal(tracking: Tracking) -> None:
    """Whoever holds it lets go of it some time; then it is as good as before."""
    with (
        contextlib.closing(sqlite3.connect("mlruns/mlflow.db", timeout=0)) as holder,
        contextlib.closing(sqlite3.connect("mlruns/mlflow.db", timeout=0)) as other,
    ):
        holder.execute("BEGIN EXCLUSIVE")
        with pytest.raises(TrackingError, match="is locked") as raised, mlflow_errors():
            other.execute("BEGIN EXCLUSIVE")
    assert can_heal(raised.value)
    assert open_tracking(NAME).experiment_id == tracking.experiment_id


def test_a_database_without_its_tables_does_not_heal(tracking: Tracking) -> None:
    """To MLflow that is an outage like any other."""
    with contextlib.closing(sqlite3.connect("mlruns/mlflow.db")) as connection:
        connection.execute("DROP TABLE tags")
    with pytest.raises(TrackingError, match="no such table") as raised, mlflow_errors():
        list(Runs(tracking).search("tags.a = 'b'"))
    assert not can_heal(raised.value)


@pytest.mark.parametrize(
    ("error", "heals"),
    [
        (MlflowException("connection refused"), True),
        (MlflowException("too many", error_code=REQUEST_LIMIT_EXCEEDED), True),
        (MlflowException("no", error_code=INVALID_PARAMETER_VALUE), False),
        (OperationalError("select 1", {}, OSError("connection refused")), True),
        (ProgrammingError("select 1", {}, OSError("no such column")), False),
    ],
)
def test_of_a_server_only_outages_may_heal(
    monkeypatch: pytest.MonkeyPatch, error: Exception, *, heals: bool
) -> None:
    """What it refuses it refuses the next time too."""
    monkeypatch.setattr("mlflow.get_tracking_uri", lambda: "http://host.example")
    with pytest.raises(TrackingError) as raised, mlflow_errors():
        raise error
    assert can_heal(raised.value) is heals


@pytest.mark.parametrize(
    "uri",
    ["foo://bar", "./mlruns", "file:///tmp/runs", "http:// host", "http://host:22x", "https://"],
)
def test_an_address_that_is_none_is_a_wrong_setting(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, uri: str
) -> None:
    """Nothing is begun, nobody is asked, and it is not tried again."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    with pytest.raises(ConfigError, match=r"^MLFLOW_TRACKING_URI .*unset"):
        open_tracking(NAME)


def test_an_experiment_deleted_in_the_ui_is_restored(tracking: Tracking) -> None:
    """Deleting is MLflow's soft kind; the next retraining goes on in the same experiment."""
    tracking.client.delete_experiment(tracking.experiment_id)
    again = open_tracking(NAME)
    assert again.experiment_id == tracking.experiment_id
    assert again.client.get_experiment(again.experiment_id).lifecycle_stage == "active"


def test_after_a_move_artifacts_are_found_and_written(
    tracking: Tracking, mlflow_project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The whole folder moved: old artifacts are read and new runs written, in the new place."""
    old = Runs(tracking).create("before", tags={}, at=1)
    tracking.client.log_text(old, "kept", "note.txt")
    moved = mlflow_project.with_name("moved")
    shutil.move(mlflow_project, moved)
    monkeypatch.chdir(moved)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "sqlite:///mlruns/mlflow.db")
    there = open_tracking(NAME)
    assert there.experiment_id == tracking.experiment_id
    assert Path(there.client.download_artifacts(old, "note.txt")).read_text() == "kept"
    new = Runs(there).create("after", tags={}, at=2)
    there.client.log_text(new, "new", "note.txt")
    assert len(list(moved.rglob("note.txt"))) == 2
    assert not mlflow_project.exists()
