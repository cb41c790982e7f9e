"""What is costly to make and alike for all tests: made once in a run, not once in each worker."""

import contextlib
import os
import shutil
import sqlite3
from collections.abc import Callable
from pathlib import Path

import pytest
from filelock import FileLock
from project_folder import users_prefect, users_prefect_environment

from flows.records.champion import MLFLOW_DATABASE
from flows.runtime.servers import PREFECT_HOME, free_port

Make = Callable[[Path], object]
DATABASES = (MLFLOW_DATABASE, PREFECT_HOME / "prefect.db")


def made_once(factory: pytest.TempPathFactory, name: str, make: Make) -> Path:
    """Folder that `make` fills: by the worker that asks first, while others that ask wait.

    It belongs to all workers of this run, and to no other run: tests copy from it.
    """
    base = factory.getbasetemp()
    shared = base.parent if "PYTEST_XDIST_WORKER" in os.environ else base
    folder, made = shared / f"once-{name}", shared / f"once-{name}.made"
    with FileLock(shared / f"once-{name}.lock"):
        if not made.exists():
            shutil.rmtree(folder, ignore_errors=True)  # of a worker that failed
            folder.mkdir()
            make(folder)
            made.touch()
    return folder


def make_databases(folder: Path) -> None:
    """MLflow's and Prefect's databases as the first command of a project makes them: 6 s."""
    from flows.tracking.database import create_schema  # noqa: PLC0415 - imports MLflow

    with contextlib.chdir(folder):
        database = MLFLOW_DATABASE.absolute()
        create_schema(database, f"sqlite:///{database}")
        server = users_prefect(free_port(0))
        with server.start(users_prefect_environment(server)):
            server.wait_ready()
        for made in DATABASES:
            with contextlib.closing(sqlite3.connect(made)) as connection:
                connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")  # one file is all of it


def put_databases(made: Path, root: Path) -> None:
    """Begin a project with what `make_databases` made."""
    for name in DATABASES:
        (root / name.parent).mkdir(parents=True, exist_ok=True)
        shutil.copy(made / name, root / name)
