"""Prefect's server on PostgreSQL, and two workers of its pool: each retraining is run once."""

import os
import re
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from postgres_server import Postgres
from project_folder import (
    QUICK,
    ProjectFolder,
    clean_environment,
    make_project,
    overrides,
    users_prefect,
    users_prefect_environment,
)

from flows.runtime.servers import free_port

pytest_plugins = ["team_servers"]
pytestmark = [pytest.mark.team, pytest.mark.timeout(1800)]
DATABASE = "prefect"
FIRST, AGAIN = "first", "again"
"""Schedules of the same retraining: of both together one is concluded."""
ENDED = ("COMPLETED", "FAILED", "CRASHED", "CANCELLED")


@pytest.fixture(scope="module")
def api(postgres: Postgres, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """PREFECT_API_URL of a server whose database is PostgreSQL's."""
    postgres.create(DATABASE)
    address = postgres.uri(DATABASE, "asyncpg")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(tmp_path_factory.mktemp("prefect"))
        server = users_prefect(free_port(0))
        environment = users_prefect_environment(server)
        running = server.start(
            environment | {"PREFECT_SERVER_DATABASE_CONNECTION_URL": address},
        )
        with running:
            server.wait_ready()
            yield f"{server.url}/api"


@pytest.fixture
def folder(api: str, tmp_path: Path) -> ProjectFolder:
    """A new project with two schedules on that server, which ask for the same."""
    project = make_project(tmp_path / "project", {"PREFECT_API_URL": api})
    year = ("schedule", "--interval", str(365 * 86_400), "--name")
    for name in (FIRST, AGAIN):
        made = project.pitchpipe(*year, name, *overrides(*QUICK, "search.axes={}"))
        assert made.code == 0, made.err
    applied = project.pitchpipe("schedule", "apply")
    assert applied.code == 0, applied.err
    return project


@dataclass(frozen=True, slots=True)
class Worker:
    """A `prefect worker start` as docs/scale.md says, in a process of its own."""

    process: subprocess.Popen[bytes]
    log: Path

    @property
    def taken(self) -> list[str]:
        """Ids of the flow runs that it took: of two that ask for one, the server turns one away."""
        said = self.log.read_text()
        turned_away = re.findall(r"Aborted submission of flow run '([0-9a-f-]{36})'", said)
        asked = re.findall(r"submitting flow run '([0-9a-f-]{36})'", said)
        return [one for one in asked if one not in turned_away]


@pytest.fixture
def workers(folder: ProjectFolder, tmp_path: Path) -> Iterator[tuple[Worker, Worker]]:
    """Two of them, of one pool."""
    identity = (folder.root / ".prefect/project.id").read_text()
    pool = f"pitchpipe-{identity[:12]}"
    environment = {
        **clean_environment(),
        **folder.environment,
        "PREFECT_HOME": str(folder.root / ".prefect"),
        "PREFECT_WORKER_QUERY_SECONDS": "1",
        "PATH": os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]]),
    }

    def start(name: str) -> Worker:
        log = tmp_path / name
        with log.open("wb") as file:
            command = ["prefect", "worker", "start", "--pool", pool, "--name", name]
            process = subprocess.Popen(
                command, cwd=folder.root, env=environment, stdout=file, stderr=file
            )
        return Worker(process, log)

    started = start("first"), start("second")
    try:
        yield started
    finally:
        for worker in started:
            worker.process.kill()
            worker.process.wait()


def flow_runs(postgres: Postgres) -> dict[str, tuple[str, str]]:
    """Id -> schedule and state of each flow run that was to have begun."""
    query = """
        select r.id::text, d.name, r.state_type::text from flow_run r
        join deployment d on d.id = r.deployment_id
        where r.state_type != 'SCHEDULED' or r.expected_start_time <= now()
    """
    return {
        str(one): (str(name), str(state)) for one, name, state in postgres.rows(DATABASE, query)
    }


def until(what: Callable[[], object], told: Callable[[], object]) -> None:
    """Look until something is so."""
    deadline = time.monotonic() + 600
    while not what():
        assert time.monotonic() < deadline, told()
        time.sleep(0.1)  # other processes and a database: no event reaches us


def test_each_schedule_runs_once_and_a_worker_takes_over_from_one_that_died(
    folder: ProjectFolder, workers: tuple[Worker, Worker], postgres: Postgres
) -> None:
    """One is killed in the middle of its flow run, which ends; the next is the other worker's."""

    def told() -> str:
        return str(flow_runs(postgres)) + "".join(one.log.read_text() for one in workers)

    def states(name: str) -> list[str]:
        return [state for schedule, state in flow_runs(postgres).values() if schedule == name]

    run_now(folder, FIRST)
    until(lambda: "RUNNING" in states(FIRST), told)
    until(lambda: sum(len(one.taken) for one in workers) == 1, told)
    [taker] = [one for one in workers if one.taken]
    [other] = [one for one in workers if one is not taker]
    taker.process.kill()
    until(lambda: set(states(FIRST)) <= {*ENDED}, told)
    run_now(folder, AGAIN)
    until(lambda: states(AGAIN) and set(states(AGAIN)) <= {*ENDED}, told)

    found = flow_runs(postgres)
    [ended] = states(FIRST)
    assert ended in {"COMPLETED", "CRASHED"}, told()  # its output goes through its worker
    assert states(AGAIN) == ["COMPLETED"], told()
    assert len(taker.taken) == len(other.taken) == 1
    assert {*taker.taken, *other.taken} == set(found)
    retrainings = (folder.root / "mlruns/retrainings.jsonl").read_text().splitlines()
    assert len(retrainings) == 1


def run_now(folder: ProjectFolder, name: str) -> None:
    """Have Prefect run a schedule."""
    ran = folder.pitchpipe("schedule", "run-now", name)
    assert ran.code == 0, ran.err
