"""A project that commit ed72c48 made opens with this code (golden/make_project_ed72c48.sh).

Keys of trials hold a digest of the training's source, so that a trial of then may be another now:
it is listed, and trained anew where it is asked for again.
"""

import importlib
import json
import shlex
import signal
import sqlite3
import tarfile
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from project_folder import REPOSITORY, ProjectFolder, read_until

from flows.runtime.servers import free_port
from models.training.source import training_source_digest

SAMPLE = REPOSITORY / "tests/golden/project_ed72c48.tar.xz"
SOURCE = "0462b2cd85270b563e5e156ee4f93160a62da44c511e82e8d363584412b9bec3"
"""Digest of the training's source at that commit."""
UNCHANGED = ["versions", "data log", "trace 2"]
"""Commands that answer as they did; they may say more."""


@dataclass(frozen=True, slots=True)
class OldProject(ProjectFolder):
    """The project unpacked, and beside it what that commit said of it."""

    def expected(self, name: str) -> Any:
        """What a command of that commit printed with --json."""
        return json.loads((self.root.parent / f"expected/{name}.json").read_text())

    def ask(self, *command: str) -> Any:
        """What a command prints with --json now; it ends well."""
        ran = self.pitchpipe(*command, "--json")
        assert ran.code == 0, ran.err
        return ran.document


def unpack(folder: Path) -> OldProject:
    with tarfile.open(SAMPLE) as archive:
        archive.extractall(folder, filter="data")
    return OldProject(folder / "digits")


@pytest.fixture(scope="module")
def opened(tmp_path_factory: pytest.TempPathFactory) -> OldProject:
    """The old project, for commands that change nothing in it."""
    return unpack(tmp_path_factory.mktemp("opened"))


@pytest.fixture
def old(tmp_path: Path) -> OldProject:
    """An old project of one's own."""
    return unpack(tmp_path)


def kept(now: Any, then: Any) -> Any:
    """The part of a document that has the keys of an older one: new keys are no breach."""
    if isinstance(then, dict) and isinstance(now, dict):
        return {key: kept(now[key], value) for key, value in then.items() if key in now}
    if isinstance(then, list) and isinstance(now, list) and len(then) == len(now):
        return [kept(*pair) for pair in zip(now, then, strict=True)]
    return now


@pytest.mark.parametrize("command", UNCHANGED)
def test_what_was_listed_is_listed_still(opened: OldProject, command: str) -> None:
    """Versions with their aliases and scores, versions of the data, what made a version."""
    then = opened.expected(command.removesuffix(" 2").replace(" ", "_"))

    assert kept(opened.ask(*command.split()), then) == then


def test_the_ledger_is_valid_and_says_what_it_said(opened: OldProject) -> None:
    """The chain, its evidence, MLflow's tags and the aliases agree: two promotions, one undone."""
    then = opened.expected("audit")

    now = opened.ask("audit", "--verify")

    assert kept(now, then) == then
    assert (now["valid"], now["problems"]) == (True, [])
    actions = [entry["action"] for entry in now["entries"] if entry["action"] != "intent"]
    assert actions == ["promote", "promote", "rollback", "decision"]


@pytest.mark.parametrize("version", ["1", "2"])
def test_a_version_names_the_classes_that_it_named(opened: OldProject, version: str) -> None:
    """Each label is the same, each probability to the last digits."""
    then = opened.expected(f"predictions_{version}")

    now = opened.ask("predict", "asked", "--version", version)

    assert len(now) == 60
    assert labels(now) == labels(then)
    for row, before in zip(now, then, strict=True):
        assert row["probabilities"] == pytest.approx(before["probabilities"], abs=1e-5)


def labels(rows: Any) -> dict[str, str]:
    return {row["image"]: row["label"] for row in rows}


def test_its_trials_are_read_whatever_became_of_them(opened: OldProject) -> None:
    """Finished, pruned and failed ones, each with its config and scores; one with its history."""
    then = opened.expected("trials")
    champion = opened.expected("versions")[1]["trial"]

    now = opened.ask("trials", "--all")
    shown = opened.ask("trials", "show", champion)

    assert {trial["state"] for trial in now} == {"finished", "pruned", "failed"}
    assert kept(by_key(now), by_key(then)) == by_key(then)
    assert [record["epoch"] for record in shown["history"]] == [1, 2, 3]


def by_key(trials: Any) -> dict[str, Any]:
    """What a trial is and what it came to, wherever in the list it stands."""
    told = ("state", "config", "scores", "epochs")
    return {trial["key"]: {name: trial[name] for name in told} for trial in trials}


def test_schedules_are_read_and_their_next_times_known(opened: OldProject) -> None:
    """The file that its commands and its people wrote."""
    then = opened.expected("schedules")

    now = opened.ask("schedule", "list")

    assert [{**one, "next": None} for one in kept(now, then)] == [
        {**one, "next": None} for one in then
    ]
    assert [one["next"] is not None for one in now] == [True, False, False]


def test_status_tells_the_champion_and_what_came_last(opened: OldProject) -> None:
    """From files alone: nothing serves the project."""
    then = opened.expected("status")

    now = opened.ask("status")

    ended = [datetime.fromisoformat(one["last_run"].pop("finished")) for one in (now, then)]
    assert abs(ended[0] - ended[1]) < timedelta(seconds=1)
    for key in ("champion", "last_run", "last_decision", "running", "services"):
        assert kept(now[key], then[key]) == then[key], key


def test_doctor_finds_no_error(opened: OldProject) -> None:
    """Databases, ledger, champion, trials, datasets and locks are examined."""
    findings = opened.ask("doctor")["findings"]

    assert {
        *(
            "MLflow's database",
            "Prefect's database",
            "ledger",
            "champions",
            "trial store",
            "datasets",
        )
    } <= {finding["what"] for finding in findings}
    assert [finding for finding in findings if finding["level"] == "error"] == []


def test_a_version_is_made_again_or_the_cause_is_named(opened: OldProject) -> None:
    """Where the training's source is another, that is the first thing said."""
    ran = opened.pitchpipe("reproduce", "2", "--json")

    differences = ran.document["differences"]
    assert ran.code in (0, 1), ran.err
    if training_source_digest() == SOURCE:
        assert [one for one in differences if one.startswith("code:")] == []
    else:
        assert differences[0].startswith("code: the training source has digest")
        assert SOURCE[:12] in differences[0]


def test_sync_has_nothing_to_add_and_tells_a_new_database_all(old: OldProject) -> None:
    """Journals and drift reports of then are understood: four retrainings, one report."""
    before = old.ask("sync")
    for file in old.root.glob("mlruns/mlflow.db*"):
        file.unlink()

    after = old.ask("sync")

    assert (before["told"], before["whole"], before["refused"]) == ([], 5, [])
    assert (len(after["told"]), after["whole"], after["refused"]) == (5, 0, [])


@pytest.mark.timeout(900)
def test_up_renews_the_deployments_and_they_run(old: OldProject) -> None:
    """Flow, interpreter and folder are today's; a schedule asked at once comes to its end."""
    database = old.root / ".prefect/prefect.db"
    ended = {run for run, _ in nightly_runs(database)}
    with serving(old):
        asked = old.pitchpipe("schedule", "run-now", "nightly")
        assert asked.code == 0, asked.err
        deployed = deployments(database)
        states = wait_for_an_end(database, ended)

    assert sorted(deployed) == ["arrivals", "monthly", "nightly"]
    for entrypoint, job in deployed.values():
        module, _, name = entrypoint.rpartition(".")
        assert getattr(importlib.import_module(module), name).name == "retrain"
        assert job == {}  # how runs are started is no one's to choose: the pool says it
    start = pool_configuration(database)
    assert Path(start["working_dir"]) == old.root
    program = next(word for word in shlex.split(start["command"])[1:] if "=" not in word)
    assert Path(program).exists()
    # Another may be turned away: that of the ticks that were missed while nobody served.
    assert "Completed" in states
    assert states & {"Failed", "Crashed"} == set()
    assert old.ask("audit", "--verify")["valid"]


@contextmanager
def serving(project: OldProject) -> Iterator[None]:
    """Serve the project, from the line that says so to Ctrl-C."""
    ports = ["--mlflow-port", str(free_port(0)), "--prefect-port", str(free_port(0))]
    with project.start("up", *ports) as process:
        try:
            read_until(process, "Ctrl-C")
            yield
            process.send_signal(signal.SIGINT)
            process.communicate(timeout=60)
            assert process.returncode == 130
        finally:
            process.kill()


def query(database: Path, sql: str) -> list[Any]:
    with closing(sqlite3.connect(f"file:{database}?mode=ro", uri=True, timeout=30)) as connection:
        return connection.execute(sql).fetchall()


def deployments(database: Path) -> dict[str, tuple[str, Any]]:
    """Name -> entrypoint, and how a worker starts a run."""
    rows = query(database, "select name, entrypoint, infra_overrides from deployment")
    return {name: (entrypoint, json.loads(job)) for name, entrypoint, job in rows}


def pool_configuration(database: Path) -> Any:
    """How workers of the project's pool start every run."""
    [(template,)] = query(database, "select base_job_template from work_pool")
    return json.loads(template)["job_configuration"]


def nightly_runs(database: Path) -> list[tuple[str, str]]:
    """Id and state of each flow run of the nightly schedule that was asked for by somebody."""
    return query(
        database,
        "select r.id, r.state_name from flow_run r join deployment d on d.id = r.deployment_id "
        "where d.name = 'nightly' and r.auto_scheduled = 0",
    )


def wait_for_an_end(database: Path, known: set[str], *, seconds: float = 600) -> set[str]:
    """Return the states of the runs that were not known, once one of them is Completed."""
    deadline = time.monotonic() + seconds
    while True:
        states = {state for run, state in nightly_runs(database) if run not in known}
        if states & {"Completed", "Failed", "Crashed"} or time.monotonic() > deadline:
            return states
        time.sleep(0.2)  # a database of another process: no one event
