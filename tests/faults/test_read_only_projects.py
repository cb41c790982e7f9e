"""A project that cannot be written to: what only reads it answers, all else says the way out."""

import json
import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from dying_command import Fate
from project_folder import Ran
from stored_project import NAME, copied
from warm_commands import WarmCommands

from flows.records.champion import read_champion

pytest_plugins = ["faults_fixtures"]


@pytest.fixture(scope="module")
def locked(stored: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The stored project, in which nobody may write."""
    root = copied(stored, tmp_path_factory.mktemp("locked") / "digits")
    places = [root, *root.rglob("*")]
    modes = {path: path.stat().st_mode for path in places if not path.is_symlink()}
    for path, mode in modes.items():
        path.chmod(mode & ~0o222)
    yield root
    for path, mode in modes.items():
        path.chmod(mode)


def asked(warm: WarmCommands, root: Path, *arguments: str) -> Ran:
    return warm.run(root, *arguments, fate=Fate(unprivileged=True))


def test_what_only_reads_answers_as_of_a_project_that_can_be_written(
    warm: WarmCommands, locked: Path, stored: Path, tmp_path: Path
) -> None:
    """The registry, predictions and a card; an export goes to another folder, without a word."""
    listed = asked(warm, locked, "versions", "--json")
    assert (listed.code, listed.err) == (0, "")
    assert [one["aliases"] for one in listed.document] == [[], ["champion"]]

    predicted = asked(warm, locked, "predict", "asked", "--version", "1", "--json").document
    said = json.loads((stored.parent / "expected/predictions_1.json").read_text())
    assert [row["label"] for row in predicted] == [row["label"] for row in said]

    exported = asked(warm, locked, "export", "1", str(tmp_path / "one.zip"))
    assert (exported.code, exported.err) == (0, "")
    assert (tmp_path / "one.zip").is_file()
    assert "digits-classifier, version 1" in asked(warm, locked, "card", "1").out


@pytest.mark.parametrize(
    "command", [("promote", "2"), ("up",), ("export", "1", "here.zip"), ("gc",)]
)
def test_what_writes_says_the_way_out(
    warm: WarmCommands, locked: Path, command: tuple[str, ...]
) -> None:
    """One message, with what was to be written."""
    ran = asked(warm, locked, *command)

    assert ran.code == 1
    (line,) = ran.err.splitlines()
    assert "Permission denied; this command writes to the project: let it be written to" in line


def test_a_damaged_database_is_not_read(warm: WarmCommands, stored: Path, tmp_path: Path) -> None:
    """It is said, as where it can be written."""
    root = copied(stored, tmp_path / "digits")
    database = root / "mlruns/mlflow.db"
    database.write_bytes(database.read_bytes()[:5000])
    database.parent.chmod(0o555)

    ran = asked(warm, root, "versions")
    database.parent.chmod(0o755)

    assert ran.code == 1
    assert "mlflow.db: is not whole" in ran.err


def test_the_champion_is_read_where_sqlite_can_make_no_files(
    locked: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The database is in write-ahead mode, which needs files beside it."""
    monkeypatch.setattr(os, "access", lambda *_: False)

    found = read_champion(NAME, locked / "mlruns/mlflow.db")

    assert found is not None
    assert found.version == 1
