"""What a shell offers after the tab key, asked as shells ask: by variables of the environment."""

import contextlib
import json
import os
import shutil
import sqlite3
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from project_folder import CONSOLE_SCRIPT, ProjectFolder, Ran, clean_environment

from flows.cli import suggestions
from flows.records.champion import MLFLOW_DATABASE

SCHEMA = """
CREATE TABLE registered_models (name TEXT);
CREATE TABLE registered_model_aliases (alias TEXT, version INTEGER, name TEXT);
CREATE TABLE model_versions (version INTEGER, name TEXT);
INSERT INTO registered_models VALUES ('cats'), ('dogs');
INSERT INTO registered_model_aliases VALUES ('champion', 2, 'cats'), ('champion', 1, 'dogs');
INSERT INTO model_versions VALUES (1, 'cats'), (2, 'cats'), (10, 'dogs');
"""
"""Of MLflow's tables, what is asked; the test of a retrained project asks MLflow's own."""
COMPLETE = """
import json, sys
from flows.cli.main import main
sys.argv = ["pitchpipe"]
try:
    main()
except SystemExit as ended:
    assert ended.code == 0, ended.code
sys.stderr.write(json.dumps(sorted(sys.modules)))
"""
HEAVY = {"torch", "mlflow", "prefect", "dvc", "sklearn", "numpy", "pandas", "yaml", "models.config"}
"""Not pydantic: typer reads the words of a command with it."""


def asked(root: Path, *words: str) -> tuple[list[str], set[str]]:
    """What bash is offered for the last word, and what the process had imported by then."""
    variables = {
        "COMP_WORDS": " ".join(words),
        "COMP_CWORD": str(len(words) - 1),
        "_PITCHPIPE_COMPLETE": "complete_bash",
    }
    ran = subprocess.run(
        [sys.executable, "-c", COMPLETE],
        cwd=root,
        env=clean_environment() | variables,
        capture_output=True,
        text=True,
        check=True,
    )
    return ran.stdout.split(), set(json.loads(ran.stderr))


@pytest.fixture
def registered(project: ProjectFolder) -> Path:
    """A project with two registered names."""
    database = project.root / MLFLOW_DATABASE
    database.parent.mkdir()
    with contextlib.closing(sqlite3.connect(database)) as connection:
        connection.executescript(SCHEMA)
    return project.root


def test_versions_of_a_retrained_project_are_offered_and_nothing_heavy_is_imported(
    retrained: tuple[ProjectFolder, Ran],
) -> None:
    """Aliases and numbers, out of MLflow's own database."""
    offered, imported = asked(retrained[0].root / "data", "pitchpipe", "promote", "")

    assert offered == ["champion", "1"]
    assert imported & HEAVY == set()


def test_bash_completes_by_the_script_that_is_printed_for_it(registered: Path) -> None:
    """Sourced in a shell, the function puts the words where bash takes them from."""
    script = (
        "source <(_PITCHPIPE_COMPLETE=source_bash pitchpipe)\n"
        "COMP_WORDS=(pitchpipe predict --version '') COMP_CWORD=3\n"
        '_pitchpipe_completion pitchpipe; echo "${COMPREPLY[@]}"'
    )
    path = f"{Path(CONSOLE_SCRIPT).parent}:{os.environ['PATH']}"
    ran = subprocess.run(
        ["bash", "--norc", "-c", script],
        cwd=registered,
        env=clean_environment() | {"PATH": path},
        capture_output=True,
        text=True,
        check=True,
    )

    assert (ran.stdout.split(), ran.stderr) == (["champion", "10", "2", "1"], "")


@pytest.mark.parametrize("shell", ["zsh", "fish"])
def test_other_shells_are_offered_words_with_what_they_mean(shell: str, registered: Path) -> None:
    """Of --model alone, where it stands on the line."""
    variables = {
        "_TYPER_COMPLETE_ARGS": "pitchpipe promote --model cats ",
        "_TYPER_COMPLETE_FISH_ACTION": "get-args",
        "_PITCHPIPE_COMPLETE": f"complete_{shell}",
    }
    ran = subprocess.run(
        [CONSOLE_SCRIPT],
        cwd=registered,
        env=clean_environment() | variables,
        capture_output=True,
        text=True,
        check=True,
    )
    wanted = {
        "fish": "champion\tcats\n2\tcats\n1\tcats\n",
        "zsh": '_arguments \'*: :(("champion":"cats"\n"2":"cats"\n"1":"cats"))\'\n',
    }

    assert ran.stdout == wanted[shell]


def context(root: Path | None = None) -> Any:
    """What the suggestions ask typer's context."""
    made = SimpleNamespace(params={"root": root and str(root)})
    made.find_root = lambda: made
    return made


def words(found: list[suggestions.Suggestion]) -> list[str]:
    return [word for word, _ in found]


def test_datasets_names_and_keys_are_those_of_the_project_that_is_named(
    registered: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By --root, as by PITCHPIPE_ROOT; keys that begin as what is typed."""
    for folder in ("data/raw/cats", "data/raw/dogs", "mlruns/trials/3fa9", "mlruns/trials/07c2"):
        (registered / folder).mkdir(parents=True)
    monkeypatch.chdir(tmp_path)
    named = context(registered)

    assert words(suggestions.suggest_datasets(named)) == ["cats", "dogs"]
    assert words(suggestions.suggest_names(named)) == ["cats", "dogs"]
    assert words(suggestions.suggest_trials(named, "3")) == ["3fa9"]
    assert suggestions.suggest_datasets(context()) == []
    monkeypatch.setenv("PITCHPIPE_ROOT", str(registered))
    assert words(suggestions.suggest_datasets(context())) == ["cats", "dogs"]


@pytest.mark.parametrize("damage", ["no database", "empty", "no SQLite", "a server"])
def test_where_versions_cannot_be_read_none_are_offered(
    damage: str, registered: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A shell has no place for a message."""
    database = registered / MLFLOW_DATABASE
    if damage == "a server":
        monkeypatch.setenv("MLFLOW_TRACKING_URI", "https://mlflow.example.org")
    else:
        database.unlink()
    if damage in ("empty", "no SQLite"):
        database.write_bytes(b"x" * 5000 if damage == "no SQLite" else b"")
    monkeypatch.chdir(registered)

    assert suggestions.suggest_versions(context()) == []
    assert suggestions.suggest_names(context()) == []


@given(st.lists(st.text("ab0_.-$`();' \"\n*~é:", max_size=6), max_size=6))
def test_no_offered_word_means_anything_to_a_shell(values: list[str]) -> None:
    """Who may name a folder or an alias must not thereby run a command in somebody's shell."""
    offered = words(suggestions._plain((value, "") for value in values))

    assert all(set(word) <= set("ab0_.-") and word[0] in "ab0_" for word in offered)
    assert set(offered) >= {value for value in values if value.isascii() and value.isalnum()}


def test_no_more_is_offered_than_anybody_reads(project: ProjectFolder) -> None:
    """A hundred of each kind."""
    for number in range(120):
        (project.root / f"mlruns/trials/{number:03}").mkdir(parents=True)

    offered = suggestions.suggest_trials(context(project.root), "")

    assert len(offered) == 100
    shutil.rmtree(project.root / "mlruns")
    assert suggestions.suggest_trials(context(project.root), "") == []
