"""A real MLflow server: retrainings are shown there, and one that is away stops no training."""

import shutil
import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import psutil
import pytest
from project_folder import QUICK, ProjectFolder, make_project, overrides
from tracking_server import TrackingServer

SLOWER = ("search.epochs=30", *QUICK[1:])
"""Enough epochs for the server to go away and come back in the middle of them."""


@pytest.fixture
def server(tmp_path: Path, retrained: tuple[ProjectFolder, Any]) -> Iterator[TrackingServer]:
    """A running server. Its schema is made already: that alone would take seconds."""
    home = tmp_path / "server"
    home.mkdir()
    shutil.copy(retrained[0].root / "mlruns/mlflow.db", home)
    with closing(sqlite3.connect(home / "mlflow.db")) as connection, connection:
        forget_everything(connection)
    running = TrackingServer(home)
    running.start()
    yield running
    running.kill()


def forget_everything(connection: sqlite3.Connection) -> None:
    """Empty every table but those that the schema itself needs."""
    kept = ("alembic_version", "workspaces")
    tables = connection.execute("select name from sqlite_master where type = 'table'").fetchall()
    for (table,) in tables:
        if table not in kept and not table.startswith("sqlite_"):
            connection.execute(f"DELETE FROM {table}")  # names of the schema


@pytest.fixture
def client(retrained: tuple[ProjectFolder, Any], tmp_path: Path, prefect_api: str) -> ProjectFolder:
    """A project with its data prepared and nothing trained."""
    fresh = make_project(tmp_path / "project", {"PREFECT_API_URL": prefect_api})
    for name in ("data", ".dvc", ".prefect"):
        shutil.copytree(retrained[0].root / name, fresh.root / name, dirs_exist_ok=True)
    shutil.copy(retrained[0].root / "dvc.lock", fresh.root)
    return fresh


@pytest.mark.timeout(900)
def test_a_retraining_is_shown_and_registered_on_a_tracking_server(
    client: ProjectFolder, server: TrackingServer
) -> None:
    """`run` against MLFLOW_TRACKING_URI: runs, version, alias and artifacts are there."""
    ran = client.pitchpipe(
        "run", "--json", *overrides(*QUICK), timeout=600, MLFLOW_TRACKING_URI=server.url
    )

    assert ran.code == 0, ran.err
    assert (ran.document["verdict"], ran.document["version"]) == ("PROMOTE", 1)
    assert server.rows("select status, count(*) from runs group by 1") == [("FINISHED", 3)]
    assert ("champion", 1) in server.rows("select alias, version from registered_model_aliases")
    assert not (client.root / "mlruns/mlflow.db").exists()
    trials = client.pitchpipe("versions", "--json", MLFLOW_TRACKING_URI=server.url)
    assert trials.document[0]["version"] == 1


@pytest.mark.timeout(1800)
@pytest.mark.parametrize("seconds", [60.0])
@pytest.mark.slow
def test_a_server_that_is_away_for_a_minute_holds_up_nothing(
    client: ProjectFolder, server: TrackingServer, seconds: float
) -> None:
    """Killed in mid-search: training goes on; back again, it is told everything, once."""
    process = client.start("tune", "--json", *overrides(*SLOWER), MLFLOW_TRACKING_URI=server.url)
    wait_for_epochs(client.root, 2)
    server.kill()
    gone = epochs(client.root)
    away = time.monotonic() + seconds
    while time.monotonic() < away and process.poll() is None:
        psutil.Process().cpu_percent(interval=0.1)
    while_away = epochs(client.root) - gone
    server.start()
    out, err = process.communicate(timeout=600)

    assert process.returncode == 0, err
    assert while_away > 0
    synced = client.pitchpipe("sync", "--json", MLFLOW_TRACKING_URI=server.url)
    assert synced.code == 0, synced.err
    assert server.rows("select status, count(*) from runs group by 1") == [("FINISHED", 3)]
    curves = "select count(*), count(distinct step) from metrics where key = 'validation/loss'"
    assert server.rows(f"{curves} group by run_uuid") == [(30, 30), (30, 30)]
    assert "Traceback" not in err
    assert out


def wait_for_epochs(root: Path, count: int) -> None:
    """Return once so many epochs were trained."""
    deadline = time.monotonic() + 600
    while epochs(root) < count:
        assert time.monotonic() < deadline
        psutil.Process().cpu_percent(interval=0.1)


def epochs(root: Path) -> int:
    """Epochs that all trials have come to."""
    histories = root.glob("mlruns/trials/*/history.jsonl")
    return sum(len(path.read_text().splitlines()) for path in histories)
