"""What a shell is offered after the tab key: versions, registered names, datasets, trials' keys.

Read from the project's files without params or MLflow: a shell waits. Where there is no project,
where MLflow's store is a server, or where a file cannot be read, nothing is offered.
"""

import contextlib
import os
import re
import sqlite3
from collections.abc import Iterator
from pathlib import Path

import typer

from models.files import PARAMS

Suggestion = tuple[str, str]
"""What may stand on the command line, and a word on it for the shells that show one."""
_MOST = 100
"""Of each kind; a longer list tells nothing."""
# Shells evaluate what they are offered: a folder may have any name.
_WORD = re.compile(r"\w[\w.-]*", re.ASCII)
_NAMES = "SELECT name FROM registered_models ORDER BY name"
_ALIASES = "SELECT alias, name FROM registered_model_aliases ORDER BY alias, name"
_VERSIONS = "SELECT version, name FROM model_versions ORDER BY version DESC, name LIMIT 1000"


def suggest_versions(context: typer.Context) -> list[Suggestion]:
    """Offer aliases, then version numbers, newest first: those of --model, or of all names."""
    model = context.params.get("registered")
    with _in_project(context):
        found = [*_rows(_ALIASES), *_rows(_VERSIONS)]
    return _plain((value, name) for value, name in found if model in (None, name))


def suggest_names(context: typer.Context) -> list[Suggestion]:
    """Offer the registered names."""
    with _in_project(context):
        return _plain((name, "") for (name,) in _rows(_NAMES))


def suggest_datasets(context: typer.Context) -> list[Suggestion]:
    """Offer the datasets of data/raw."""
    with _in_project(context):
        return _plain((name, "") for name in _folders(Path("data/raw")))


def suggest_trials(context: typer.Context, incomplete: str) -> list[Suggestion]:
    """Offer the keys of the store that begin so."""
    with _in_project(context):
        keys = _folders(Path("mlruns/trials"))
    return _plain((key, "") for key in keys if key.startswith(incomplete))


@contextlib.contextmanager
def _in_project(context: typer.Context) -> Iterator[None]:
    """Stand in the project's root while inside, or in no project: outside of one."""
    asked = context.find_root().params.get("root") or os.environ.get("PITCHPIPE_ROOT")
    places = [Path(asked)] if asked else [Path.cwd(), *Path.cwd().parents]
    root = next((place for place in places if (place / PARAMS).is_file()), None)
    with contextlib.chdir(root) if root else contextlib.nullcontext():
        yield


def _rows(query: str) -> list[tuple[str, ...]]:
    """Ask the project's own database of MLflow; empty where none answers."""
    from flows.records.champion import MLFLOW_DATABASE, is_own_database, open_read_only

    if not (is_own_database() and MLFLOW_DATABASE.exists()):
        return []
    try:
        with contextlib.closing(open_read_only(MLFLOW_DATABASE)) as connection:
            return [tuple(map(str, row)) for row in connection.execute(query)]
    except sqlite3.Error:
        return []


def _folders(parent: Path) -> list[str]:
    try:
        return sorted(entry.name for entry in os.scandir(parent) if entry.is_dir())
    except OSError:
        return []


def _plain(found: Iterator[Suggestion]) -> list[Suggestion]:
    """Keep words that mean nothing to a shell, each once, at most a hundred."""
    words = {value: told for value, told in found if _WORD.fullmatch(value)}
    return list(words.items())[:_MOST]
