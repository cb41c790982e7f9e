"""The champion, read from the project's own database without MLflow, whose import takes seconds."""

import contextlib
import os
import sqlite3
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from models.trials import Scores

MLFLOW_DATABASE = Path("mlruns/mlflow.db")
"""MLflow's store where MLFLOW_TRACKING_URI names no other."""
WEIGHTS_TAG = "weights.digest"
"""Tag of a version: SHA-256 over names, types, shapes and bytes of its weights."""
_OWN_URIS = ("", f"sqlite:///{MLFLOW_DATABASE}")
_ALIAS = "SELECT version FROM registered_model_aliases WHERE name = ? AND alias = ?"
_TAGS = "SELECT key, value FROM model_version_tags WHERE name = ? AND version = ?"


def is_own_database() -> bool:
    """Whether MLflow's store is the project's own database, and no server or other file.

    MLFLOW_TRACKING_URI may name it, too: MLflow sets the variable in a process that opened it.
    """
    uri = os.environ.get("MLFLOW_TRACKING_URI", "")
    return uri in (*_OWN_URIS, f"sqlite:///{MLFLOW_DATABASE.absolute()}")


@dataclass(frozen=True, slots=True)
class Champion:
    """The version in service."""

    version: int
    test: "Scores | None"
    """On the test split, when it was registered."""


def read_champion(name: str, database: Path = MLFLOW_DATABASE) -> Champion | None:
    """Return the champion of a registered name; None where there is none.

    Raises sqlite3.Error where the database cannot be read.
    """
    if not database.exists():
        return None
    with contextlib.closing(open_read_only(database)) as connection:
        found = connection.execute(_ALIAS, (name, "champion")).fetchone()
        if found is None:
            return None
        tags = dict(connection.execute(_TAGS, (name, int(found[0]))).fetchall())
    return Champion(int(found[0]), scores_of_tags(tags))


def weights_of(name: str, wanted: str, database: Path = MLFLOW_DATABASE) -> str | None:
    """Return the digest of the weights of a version, by number or alias; None: there is none.

    Raises sqlite3.Error where the database cannot be read.
    """
    if not database.exists():
        return None
    with contextlib.closing(open_read_only(database)) as connection:
        found = connection.execute(_ALIAS, (name, wanted)).fetchone()
        version = found[0] if found else wanted
        tags = dict(connection.execute(_TAGS, (name, version)).fetchall())
    return tags.get(WEIGHTS_TAG)


def open_read_only(database: Path) -> sqlite3.Connection:
    """Open a database for reading, waiting two seconds for a writer.

    In a folder that cannot be written SQLite makes no files beside it, which a database in
    write-ahead mode needs: such a one is read as it lies, where nothing waits beside it.
    """
    waiting = database.with_name(f"{database.name}-wal")
    quiet = not waiting.exists() or waiting.stat().st_size == 0
    as_it_lies = quiet and not os.access(database.parent, os.W_OK)
    options = "mode=ro&immutable=1" if as_it_lies else "mode=ro"
    return sqlite3.connect(f"{database.absolute().as_uri()}?{options}", uri=True, timeout=2)


def scores_of_tags(tags: Mapping[str, str]) -> "Scores | None":
    """Scores on the test split when a version was registered, by its tags; None without them."""
    from models.trials import Scores  # noqa: PLC0415 - 0.3 s that a shell's completion need not wait

    names = Scores.model_fields
    try:
        return Scores.model_validate({name: float(tags[f"test.{name}"]) for name in names})
    except (KeyError, ValueError):
        return None
