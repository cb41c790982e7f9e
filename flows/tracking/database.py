"""MLflow's SQLite file: made whole or not at all, in write-ahead mode."""

import contextlib
import sqlite3
from pathlib import Path

from filelock import FileLock
from mlflow.tracking import MlflowClient

from models.files import replacing


def database_of(uri: str) -> Path | None:
    """Path of the file of a SQLite store; None for another store."""
    prefix = "sqlite:///"
    return Path(uri.removeprefix(prefix)).absolute() if uri.startswith(prefix) else None


def is_inside(database: Path | None) -> bool:
    """Whether it is a file of the project (the working directory)."""
    return database is not None and database.resolve().is_relative_to(Path.cwd().resolve())


def database_lock(database: Path) -> FileLock:
    """Lock under which schema and experiment are created."""
    database.parent.mkdir(parents=True, exist_ok=True)
    return FileLock(database.with_name(f"{database.name}.lock"), timeout=120)


def create_schema(database: Path, uri: str) -> None:
    """Create or complete the schema. Unlocked, three processes ruin the file: MLflow #19943."""
    with database_lock(database):
        if not database.exists():
            _make_database(database)
        elif database.stat().st_size == 0:  # SQLite takes it for a database without tables
            raise sqlite3.DatabaseError("the file is empty")
        _ = MlflowClient(uri).search_experiments(max_results=1)
        with contextlib.closing(sqlite3.connect(database)) as connection:
            # So that readers (the UI) never wait for writes. The mode is stored in the file.
            connection.execute("PRAGMA journal_mode=WAL")


def _make_database(database: Path) -> None:
    """Create a database under a temporary name: a kill during its migration would ruin it."""
    with replacing(database) as temporary:
        client = MlflowClient(f"sqlite:///{temporary}")
        client.search_experiments(max_results=1)
        if is_inside(database):
            # MLflow's own, empty; `mlflow experiments restore` brings it back.
            client.delete_experiment("0")
        client._tracking_client.store.engine.dispose()  # noqa: SLF001 - the only way to close it
