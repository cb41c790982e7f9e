"""docs/schedules.md is code: each of its commands runs, and its file is read."""

import re
import shlex
import shutil
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
import yaml
from project_folder import (
    QUICK,
    REPOSITORY,
    ProjectFolder,
    Ran,
    clean_environment,
    overrides,
    users_prefect,
    users_prefect_environment,
)

from flows.runtime.prefect_records import project_tag
from flows.runtime.servers import free_port
from flows.schedules.config import Schedule, read_schedules
from models.config import Params

PAGE = (REPOSITORY / "docs/schedules.md").read_text(encoding="utf-8")


def blocks(language: str) -> list[str]:
    """Code blocks of the page in a language."""
    return re.findall(rf"```{language}\n(.*?)```", PAGE, flags=re.DOTALL)


@pytest.fixture
def retrained(retrained: tuple[ProjectFolder, Ran], tmp_path: Path) -> tuple[ProjectFolder, Ran]:
    """A copy of the project of all tests: what is scheduled here must not be found by others."""
    shutil.copytree(retrained[0].root, tmp_path / "project")
    return ProjectFolder(tmp_path / "project", retrained[0].environment), retrained[1]


def test_every_command_of_the_page_runs(retrained: tuple[ProjectFolder, Ran]) -> None:
    """In its order, where nothing changed since the last retraining."""
    folder, _ = retrained
    for line in "".join(blocks("sh")).splitlines():
        words = shlex.split(line, comments=True)
        if words[1:4] == ["schedule", "run-now", "nightly"]:
            set_quick(folder)
        ran = folder.pitchpipe(*words[1:])
        assert ran.code == 0, (words, ran.err)
        assert "Traceback" not in ran.err
    (folder.root / "schedules.yaml").unlink()


def set_quick(folder: ProjectFolder) -> None:
    """Let the schedule ask for what was retrained already, which is nothing to do."""
    again = folder.pitchpipe("schedule", "remove", "nightly")
    assert again.code == 0, again.err
    new = ["--cron", "0 3 * * *", "--name", "nightly", *overrides(*QUICK)]
    assert folder.pitchpipe("schedule", *new).code == 0


def test_the_file_on_the_page_is_one(tmp_path: Path) -> None:
    """Its keys are those of a schedule."""
    text, remote, _ = blocks("yaml")
    (entry,) = yaml.safe_load(text)

    assert set(entry) <= set(Schedule.model_fields)
    assert Schedule.model_validate(entry | {"set": tuple(entry["set"])}).trigger == "cron"
    (tmp_path / "schedules.yaml").write_text(remote)
    (arrivals,) = read_schedules(tmp_path / "schedules.yaml")
    assert arrivals.inbox == "s3://team/deliveries/pets"


def test_the_params_on_the_page_are_some() -> None:
    """Each key is one of the params, and together they say something else than the defaults."""
    *_, text = blocks("yaml")
    [(section, fields)] = yaml.safe_load(text).items()

    found = Params.model_validate({section: fields}).model_dump()[section]
    assert fields.items() <= found.items()
    assert found != Params().model_dump()[section]


@pytest.fixture
def served(retrained: tuple[ProjectFolder, Ran], tmp_path: Path) -> Iterator[dict[str, str]]:
    """A Prefect server over the project's database; the environment of who talks to it."""
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(retrained[0].root)
        server = users_prefect(free_port(0))
        with server.start(users_prefect_environment(server)):
            server.wait_ready()
            yield {
                **clean_environment(),
                "PREFECT_API_URL": f"{server.url}/api",
                "PREFECT_HOME": str(tmp_path),  # not the developer's own
                "PREFECT_WORKER_QUERY_SECONDS": "1",
                "DO_NOT_TRACK": "true",
                "COLUMNS": "200",  # a name cut in two is not found
            }


def test_a_prefect_worker_serves_the_schedules(
    retrained: tuple[ProjectFolder, Ran], served: dict[str, str], tmp_path: Path
) -> None:
    """As the page tells it: apply, the pool is there, a worker of it runs what is asked."""
    folder, _ = retrained
    export, apply, pools, start = "".join(blocks("bash")).splitlines()
    assert shlex.split(export, comments=True)[1].startswith("PREFECT_API_URL=")
    set_quick_daily(folder)

    for line in (apply, pools):
        done = prefect(shlex.split(line, comments=True), served)
        assert done.returncode == 0, done.stderr
    assert project_tag() in done.stdout
    words = [
        project_tag() if "0123" in word else word for word in shlex.split(start, comments=True)
    ]
    with (tmp_path / "worker.log").open("w") as log:
        worker = subprocess.Popen(
            [str(Path(sys.executable).parent / words[0]), *words[1:]],
            env=served,
            stdout=log,
            stderr=log,
        )
    try:
        asked = folder.pitchpipe(
            "schedule", "run-now", "daily", PREFECT_API_URL=served["PREFECT_API_URL"]
        )
        assert asked.code == 0, asked.err
        state = wait_for_end(folder.root / ".prefect/prefect.db", seconds=90)
    finally:
        # Prefect makes SIGINT of SIGTERM, and jobs in a shell's background ignore that for ever.
        worker.kill()
        worker.wait()
        (folder.root / "schedules.yaml").unlink()

    assert state[0] == "COMPLETED", (tmp_path / "worker.log").read_text()
    assert "nothing to do" in state[1]


def set_quick_daily(folder: ProjectFolder) -> None:
    """A schedule that asks for what was retrained already."""
    new = ["--interval", "86400", "--name", "daily", *overrides(*QUICK)]
    assert folder.pitchpipe("schedule", *new).code == 0


def prefect(words: list[str], environment: dict[str, str]) -> subprocess.CompletedProcess[str]:
    """Run a command of this environment."""
    program = str(Path(sys.executable).parent / words[0])
    return subprocess.run(
        [program, *words[1:]], env=environment, capture_output=True, text=True, check=False
    )


def wait_for_end(database: Path, *, seconds: float) -> tuple[str, str]:
    """State and message of the deployment's run that was asked for, once it has ended."""
    query = """
        select r.state_type, coalesce(s.message, '') from flow_run r
        join flow_run_state s on s.id = r.state_id
        where r.deployment_id is not null and r.auto_scheduled = 0
    """
    deadline = time.monotonic() + seconds
    states: list[tuple[str, str]] = []
    while time.monotonic() < deadline:
        with closing(sqlite3.connect(database, timeout=30)) as connection:
            states = connection.execute(query).fetchall()
        if states and states[0][0] not in ("SCHEDULED", "PENDING", "RUNNING"):
            break
        time.sleep(0.2)  # another program's states: there is no event to wait for
    return states[0]
