"""A tracking store for each test: real MLflow, its schema made once. Load it as a pytest plugin."""

import os
import shutil
from pathlib import Path

import pytest
from made_once import made_once
from registry_records import NAME

from flows.tracking.store import Tracking, open_tracking


@pytest.fixture(scope="session")
def migrated_database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A database with MLflow's schema and no run: made once, copied for each test."""
    return made_once(tmp_path_factory, "migrated", _migrate) / "mlruns"


def _migrate(root: Path) -> None:
    before = Path.cwd()
    os.chdir(root)
    try:
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("MLFLOW_TRACKING_URI", "sqlite:///mlruns/mlflow.db")
            open_tracking(NAME)
    finally:
        os.chdir(before)


@pytest.fixture
def mlflow_project(
    tmp_path: Path, migrated_database: Path, monkeypatch: pytest.MonkeyPatch
) -> Path:
    """An empty project with a tracking store, as the working directory."""
    shutil.copytree(migrated_database, tmp_path / "project" / "mlruns")
    monkeypatch.chdir(tmp_path / "project")
    # Set, not deleted: opening sets it to an absolute path, and the patch puts it back.
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "sqlite:///mlruns/mlflow.db")
    return tmp_path / "project"


@pytest.fixture
def tracking(mlflow_project: Path) -> Tracking:
    """The project's store, opened."""
    assert Path.cwd() == mlflow_project
    return open_tracking(NAME)
