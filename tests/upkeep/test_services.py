"""Servers on loopback: `up` shows links and ends whole; on these versions a schedule fires."""

import json
import os
import signal
import socket
import sqlite3
import subprocess
import sys
import textwrap
import threading
import time
import urllib.request
from base64 import b64encode
from contextlib import closing
from pathlib import Path

import psutil
import pytest
from project_folder import (
    QUICK,
    ProjectFolder,
    clean_environment,
    overrides,
    read_until,
    services_of,
)

from flows.runtime.prefect_server import SERVICES
from flows.runtime.servers import (
    USER,
    Server,
    answers,
    free_port,
    new_password,
    prefect_server,
    server_environment,
)
from flows.schedules.commands import is_served
from flows.schedules.up import announce
from models.errors import PitchpipeError


def ports() -> list[str]:
    return ["--mlflow-port", str(free_port(0)), "--prefect-port", str(free_port(0))]


def links(printed: str) -> list[str]:
    return [word for word in printed.split() if word.startswith("http://127.0.0.1:")]


def with_password(password: str | None) -> dict[str, str]:
    """The header by which programs sign in."""
    return {"Authorization": f"Basic {b64encode(f'{USER}:{password}'.encode()).decode()}"}


def test_up_serves_both_uis_on_loopback_and_stops_both_on_ctrl_c(project: ProjectFolder) -> None:
    """Both links answer; after SIGINT nothing is left, and the exit code is 130."""
    process = project.start("up", *ports())
    mlflow, prefect, runs = links(read_until(process, "Ctrl-C"))
    auth = with_password(services_of(project.root).password)
    with urllib.request.urlopen(urllib.request.Request(mlflow, headers=auth)) as page:
        assert b"MLflow" in page.read()
    assert runs.startswith(f"{mlflow}/#/experiments/1/runs?")
    with urllib.request.urlopen(f"{prefect}/api/health") as health:
        assert health.read() == b"true"
    family = psutil.Process(process.pid).children(recursive=True)
    command_lines = [" ".join(child.cmdline()) for child in family]
    second = project.pitchpipe("up", *ports())

    os.kill(process.pid, signal.SIGINT)
    _, err = process.communicate(timeout=30)
    _, alive = psutil.wait_procs(family, timeout=10)

    assert process.returncode == 130, err
    assert "Traceback" not in err
    assert alive == []
    assert any("mlflow" in line for line in command_lines)
    assert not any("sqlite:" in line for line in command_lines)
    assert second.code == 1
    assert f"process {process.pid}" in second.err


def test_up_says_that_mlflow_is_away_before_it_starts_anything(project: ProjectFolder) -> None:
    """One message that names the address and the way out, exit 1, and no Prefect server."""
    ran = project.pitchpipe("up", *ports(), MLFLOW_TRACKING_URI="http://127.0.0.1:9")

    said = [line for line in ran.err.splitlines() if line.startswith("pitchpipe: ")]
    assert ran.code == 1
    assert "Traceback" not in ran.err
    assert len(said) == 1
    assert "MLflow at http://127.0.0.1:9: " in said[0]
    assert "see that it runs and that MLFLOW_TRACKING_URI names it" in said[0]
    assert not (project.root / ".prefect/server.log").exists()


def test_a_server_of_the_team_that_up_uses_is_not_taken_for_its_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A shell that does not name it cannot sign in there: nothing is left to be run by it."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("PREFECT_API_URL", raising=False)
    SERVICES.parent.mkdir()
    announce("https://prefect.team", "https://mlflow.team", "ours", own_prefect=False)
    assert not is_served()

    announce("http://127.0.0.1:4200", "http://127.0.0.1:5000", "ours")
    assert is_served()
    announce("https://prefect.team", "https://mlflow.team", "ours", own_prefect=False)
    monkeypatch.setenv("PREFECT_API_URL", "https://prefect.team/api")
    assert is_served()


@pytest.mark.parametrize("command", ["run", "status", "doctor", "up"])
@pytest.mark.parametrize("url", ["http://127.0.0.1:42 00/api", "127.0.0.1:4200/api"])
def test_an_address_of_prefect_that_is_none_is_one_message_and_exit_2(
    project: ProjectFolder, command: str, url: str
) -> None:
    """Nothing is begun; the message names the variable, its value and what to do."""
    ran = project.pitchpipe(command, PREFECT_API_URL=url)

    assert ran.code == 2
    assert ran.out == ""
    assert ran.err.startswith(f"pitchpipe: PREFECT_API_URL {url!r}: not an address")
    assert len(ran.err.splitlines()) == 1


@pytest.mark.parametrize(
    "url",
    ["http://a b/", "http://host:port/", "http://[::1/", "ftp://host", "file:///etc/hosts", "x"],
)
def test_what_is_no_address_does_not_answer(url: str) -> None:
    """Nobody is asked, and no file is opened."""
    assert not answers(url)


def test_who_speaks_another_language_does_not_answer() -> None:
    """A port of SSH, say, where a server was thought to be."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def greet() -> None:
            connection, _ = listener.accept()
            with connection:
                connection.recv(1024)
                connection.sendall(b"SSH-2.0-OpenSSH_9.6\r\n")

        greeter = threading.Thread(target=greet)
        greeter.start()
        assert not answers(f"http://127.0.0.1:{listener.getsockname()[1]}/api/health")
        greeter.join()


@pytest.mark.usefixtures("with_databases")
def test_servers_die_with_a_killed_up_and_another_up_picks_up(project: ProjectFolder) -> None:
    """kill -9 leaves no server behind, and no stale file stops the next one."""
    process = project.start("up", *ports())
    read_until(process, "Ctrl-C")
    family = psutil.Process(process.pid).children(recursive=True)

    process.kill()
    process.communicate()
    _, alive = psutil.wait_procs(family, timeout=10)
    again = project.start("up", *ports())
    read_until(again, "Ctrl-C")
    again.terminate()
    again.communicate(timeout=30)

    assert len(family) >= 2
    assert alive == []
    assert again.returncode == 143


@pytest.mark.usefixtures("with_databases")
def test_a_retraining_outlives_the_up_whose_server_it_uses(project: ProjectFolder) -> None:
    """Ctrl-C on `up` in the middle of a search by hand: another server stands in, and it ends."""
    served = project.start("up", *ports())
    read_until(served, "Ctrl-C")
    search = ("search.epochs=30", "search.axes={seed: [1, 2, 3, 4, 5, 6]}", *QUICK[2:])
    process = project.start("tune", "--json", *overrides(*search))
    while not list(project.root.glob("mlruns/trials/*/result.json")) and process.poll() is None:
        time.sleep(0.1)  # another process's files

    served.send_signal(signal.SIGINT)
    served.communicate(timeout=30)
    running = process.poll() is None
    out, err = process.communicate(timeout=240)

    assert running, err
    assert process.returncode == 0, err
    assert json.loads(out)["trials"]["trained"] == 6
    assert "Traceback" not in err
    with closing(sqlite3.connect(project.root / ".prefect/prefect.db")) as connection:
        states = connection.execute(
            "select distinct state_type from flow_run union select state_type from task_run"
        ).fetchall()
    assert states == [("COMPLETED",)]


def test_a_server_that_ends_while_starting_is_named_with_its_log(tmp_path: Path) -> None:
    """The way out is in the log file."""
    log = tmp_path / "server.log"
    server = Server("a server", ["-c", "raise SystemExit('no')"], port=9, health="/", log=log)

    with server.start({}), pytest.raises(PitchpipeError, match=f"a server ended.*{log.name}"):
        server.wait_ready(seconds=30)

    assert "no" in log.read_text()


def test_another_programs_answer_is_not_taken_for_our_servers(tmp_path: Path) -> None:
    """A port found free may be taken before our server binds it: then it ends, and that is said."""
    root = tmp_path / "served"
    root.mkdir()
    (root / "health").write_text("true")
    other = [sys.executable, "-m", "http.server", "--bind", "127.0.0.1", "--directory", str(root)]
    port = free_port(0)
    with subprocess.Popen([*other, str(port)], stderr=subprocess.DEVNULL) as stranger:
        wait_until_answers(f"http://127.0.0.1:{port}/health")
        late = "import time; time.sleep(1); raise SystemExit('address in use')"
        log = tmp_path / "server.log"
        server = Server("ours", ["-c", late], port=port, health="/health", log=log)

        with server.start({}), pytest.raises(PitchpipeError, match="ours ended"):
            server.wait_ready(seconds=30)
        stranger.kill()


def wait_until_answers(url: str) -> None:
    """Ask until a page is there."""
    deadline = time.monotonic() + 30
    while not answers(url):
        assert time.monotonic() < deadline
        time.sleep(0.05)  # a server's readiness is its answer


def test_a_port_in_use_is_passed_over() -> None:
    """Two projects may serve at once."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]

        assert free_port(port) != port
    assert not answers(f"http://127.0.0.1:{port}/")


SCHEDULED = """
    from pathlib import Path
    from prefect import flow, task

    @task
    def work() -> None:
        with Path("worked").open("a") as file:
            file.write("x")

    @flow
    def tick() -> None:
        work()

    if __name__ == "__main__":
        tick.serve(name="often", interval=5, webserver=False)
"""


def test_a_schedule_fires_and_its_flow_completes_on_the_installed_versions(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """SQLAlchemy 2.1 and FastAPI 0.155 break this silently: `pip check` stays content."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "scheduled.py").write_text(textwrap.dedent(SCHEDULED))
    server, password = prefect_server(free_port(0)), new_password()
    environment = server_environment(f"{server.url}/api", password)
    with server.start(environment):
        server.wait_ready()
        served = subprocess.Popen(
            [sys.executable, "scheduled.py"],
            env={**clean_environment(), **environment, "PREFECT_RUNNER_POLL_FREQUENCY": "1"},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        try:
            states = wait_for_completed_run(f"{server.url}/api", password, seconds=150)
        finally:
            served.terminate()
            served.wait()

    assert "COMPLETED" in states
    assert (tmp_path / "worked").exists()


def wait_for_completed_run(api: str, password: str, *, seconds: float) -> list[str]:
    """Ask until a scheduled flow run is completed; its states so far when time is up."""
    request = urllib.request.Request(
        f"{api}/flow_runs/filter",
        data=json.dumps({"flow_runs": {"deployment_id": {"is_null_": False}}}).encode(),
        headers={"Content-Type": "application/json", **with_password(password)},
    )
    deadline = time.monotonic() + seconds
    states: list[str] = []
    while time.monotonic() < deadline and "COMPLETED" not in states:
        with urllib.request.urlopen(request) as response:
            states = [run["state_type"] for run in json.load(response)]
        time.sleep(0.5)  # a schedule is a matter of time: there is no event to wait for
    return states
