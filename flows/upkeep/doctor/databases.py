"""Checks of the databases of MLflow and Prefect: integrity, schema, runs of dead processes."""

import contextlib
import re
import sqlite3
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

from pydantic import ValidationError

from flows.records.champion import MLFLOW_DATABASE, open_read_only
from flows.runtime.retraining_lock import holder
from flows.runtime.servers import PREFECT_HOME
from flows.upkeep.doctor.finding import Finding, error, warning
from models.processes import ProcessIdentity

PREFECT_DATABASE = PREFECT_HOME / "prefect.db"
_RUNNING = """SELECT runs.name, tags.value FROM runs
    JOIN tags ON tags.run_uuid = runs.run_uuid
        AND tags.key IN ('mlflow.pitchpipe.owner', 'pitchpipe.owner')
    WHERE runs.status = 'RUNNING'"""
_OPEN = "SELECT name FROM flow_run WHERE state_type IN ('RUNNING', 'CANCELLING')"
_MLFLOW_REMEDY = (
    f"mkdir mlruns/broken && mv {MLFLOW_DATABASE}* mlruns/broken/; then `pitchpipe sync` brings "
    "the runs back, and `pitchpipe import` versions that were exported"
)


def mlflow_database() -> Iterator[Finding]:
    """Look at MLflow's database: integrity, schema, runs whose process is dead."""
    if not MLFLOW_DATABASE.exists():
        return
    try:
        with contextlib.closing(open_read_only(MLFLOW_DATABASE)) as connection:
            yield from _integrity(connection, MLFLOW_DATABASE, _MLFLOW_REMEDY)
            yield from _schema(connection)
            yield from _dead_runs(connection)
    except sqlite3.Error as fault:
        yield error(f"{MLFLOW_DATABASE} cannot be read: {fault}", _MLFLOW_REMEDY)


def prefect_database() -> Iterator[Finding]:
    """Check .prefect/prefect.db: integrity, flow runs whose process is dead."""
    remedy = f"mv {PREFECT_DATABASE} {PREFECT_DATABASE}.broken; only the list of flow runs is lost"
    if not PREFECT_DATABASE.exists():
        return
    try:
        with contextlib.closing(open_read_only(PREFECT_DATABASE)) as connection:
            yield from _integrity(connection, PREFECT_DATABASE, remedy)
            yield from _open_flow_runs(connection)
    except sqlite3.Error as fault:
        yield error(f"{PREFECT_DATABASE} cannot be read: {fault}", remedy)


def _integrity(connection: sqlite3.Connection, path: Path, remedy: str) -> Iterator[Finding]:
    result = str(connection.execute("PRAGMA quick_check(1)").fetchone()[0])
    if result != "ok":
        yield error(f"{path} is damaged: {' '.join(result.split())}", remedy)


def _schema(connection: sqlite3.Connection) -> Iterator[Finding]:
    tables = {name for (name,) in connection.execute("SELECT name FROM sqlite_master")}
    if any(name.startswith("_alembic_tmp_") for name in tables) or "alembic_version" not in tables:
        what = f"{MLFLOW_DATABASE}: the creation of its tables was interrupted"
        yield error(what, _MLFLOW_REMEDY)
        return
    (revision,) = connection.execute("SELECT version_num FROM alembic_version").fetchone()
    known, newest = _revisions()
    if revision not in known:
        yield error(
            f"{MLFLOW_DATABASE} was created by a later MLflow (schema {revision})",
            "install that MLflow: `make install` in the clone that created it",
        )
    elif revision != newest:
        yield warning(
            f"{MLFLOW_DATABASE} has the tables of an earlier MLflow (schema {revision})",
            f"copy the file, then: mlflow db upgrade sqlite:///{MLFLOW_DATABASE}",
        )


def _revisions() -> tuple[set[str], str | None]:
    """Schemas that the installed MLflow knows, and its latest."""
    package = find_spec("mlflow")
    assert package is not None
    assert package.origin is not None
    scripts = (Path(package.origin).parent / "store/db_migrations/versions").glob("*.py")
    text = "\n".join(path.read_text(encoding="utf-8") for path in scripts)
    known = set(re.findall(r"""^revision = ["'](\w+)""", text, re.MULTILINE))
    superseded = set(re.findall(r"""^down_revision = ["'](\w+)""", text, re.MULTILINE))
    return known, next(iter(known - superseded), None)


def _dead_runs(connection: sqlite3.Connection) -> Iterator[Finding]:
    names = [name for name, owner in connection.execute(_RUNNING) if _is_dead(owner)]
    if names:
        yield warning(
            f"{len(names)} runs are RUNNING in MLflow though their processes ended: {names[0]}",
            "pitchpipe sync",
        )


def _is_dead(owner: str) -> bool:
    try:
        return not ProcessIdentity.model_validate_json(owner).alive
    except ValidationError:
        return False


def _open_flow_runs(connection: sqlite3.Connection) -> Iterator[Finding]:
    names = [name for (name,) in connection.execute(_OPEN)]
    if names and holder() is None:
        yield warning(
            f"{len(names)} flow runs are Running in Prefect though no retraining is: {names[0]}",
            "the next `pitchpipe run` that retrains closes them",
        )
