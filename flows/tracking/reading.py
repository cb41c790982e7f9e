"""MLflow's database where it cannot be written, such as on a read-only disk: read from a copy.

MLflow opens no SQLite file for reading alone: it makes folders, takes locks, and a database in
write-ahead mode needs files beside it.
"""

import atexit
import contextlib
import os
import shutil
import sqlite3
import tempfile
from pathlib import Path

import mlflow

from flows.tracking.database import database_of
from flows.tracking.store import Tracking, TrackingError, open_tracking, quiet_mlflow, tracking_uri

_BESIDE = ("", "-wal")
"""Ends of the files that hold a database; what was not moved into the first is in the second."""


def open_for_reading(name: str) -> Tracking:
    """Open the store for a command that writes nothing into it; else as `open_tracking`.

    Where the database's folder cannot be written, no lock is taken: a copy is opened, which ends
    with the process. Raises TrackingError where the database is not whole.
    """
    database = database_of(tracking_uri())
    if database is None or not database.is_file() or os.access(database.parent, os.W_OK):
        return open_tracking(name)
    quiet_mlflow()
    folder = tempfile.mkdtemp(prefix="pitchpipe-")
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    copy = Path(folder) / database.name
    for end in _BESIDE:
        with contextlib.suppress(FileNotFoundError):
            shutil.copyfile(f"{database}{end}", f"{copy}{end}")
    _check_whole(copy, of=database)
    uri = f"sqlite:///{copy}"
    mlflow.set_tracking_uri(uri)
    return Tracking(uri=uri, name=name)


def _check_whole(copy: Path, *, of: Path) -> None:
    try:
        with contextlib.closing(sqlite3.connect(copy)) as connection:
            (found,) = connection.execute("PRAGMA quick_check(1)").fetchone()
            connection.execute("SELECT 1 FROM registered_models LIMIT 1")
    except sqlite3.Error as error:
        found = str(error)
    if found != "ok":
        raise TrackingError(
            f"{of}: is not whole ({found}), and its folder cannot be written; put a copy of it back"
        )
