"""What `up` and `run` serve, attacked: by pages of a real browser and by programs without password.

The browser is the owner's, signed in: it would send the cookie by itself.
"""

import http.server
import json
import sqlite3
import stat
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest
from made_once import put_databases
from playwright.sync_api import Page, expect
from project_folder import (
    QUICK,
    ProjectFolder,
    Ran,
    make_project,
    overrides,
    read_until,
    services_of,
)

from flows.runtime import guarded_apps
from flows.runtime.prefect_server import SERVICES, RunningServices
from flows.runtime.servers import USER, answers, free_port

pytest_plugins = ["browser_fixtures"]

PREFECT, MLFLOW = Path(".prefect/prefect.db"), Path("mlruns/mlflow.db")


@dataclass(frozen=True, slots=True)
class Request:
    """What somebody would like one of our servers to do."""

    url: str
    method: str
    body: str


@dataclass(frozen=True, slots=True)
class Up:
    """A living `up` of a project with one retraining and one schedule."""

    folder: ProjectFolder
    process: psutil.Process
    services: RunningServices
    printed: str

    @property
    def root(self) -> Path:
        """Of the project."""
        return self.folder.root

    @property
    def password(self) -> str:
        """As its owner knows it."""
        assert self.services.password
        return self.services.password

    def rows(self, database: Path, query: str) -> list[Any]:
        """Ask a database behind the servers' backs."""
        with closing(sqlite3.connect(self.root / database, timeout=30)) as connection:
            return connection.execute(query).fetchall()

    def requests(self) -> list[Request]:
        """What would start a command, change what is recorded, or write a file."""
        deployment = self.rows(PREFECT, "select id from deployment")[0][0]
        run = self.rows(MLFLOW, "select run_uuid from runs")[0][0]
        command = {"job_variables": {"command": "touch owned", "env": {"OWNED": "1"}}}
        pool = {"name": "owned", "type": "process"}
        experiment = {"name": "owned", "artifact_location": "/tmp/owned"}
        tag = {"run_id": run, "run_uuid": run, "key": "owned", "value": "owned"}
        upload = f"upload-artifact?run_uuid={run}&path=owned.txt"
        artifacts = "2.0/mlflow-artifacts"
        asked: tuple[tuple[str, str, str, object], ...] = (
            (self.services.prefect, "POST", f"deployments/{deployment}/create_flow_run", command),
            (self.services.prefect, "POST", f"deployments/{deployment}/create_flow_run", {}),
            (self.services.prefect, "POST", "flows/", {"name": "owned"}),
            (self.services.prefect, "POST", "work_pools/", pool),
            (self.services.prefect, "POST", "variables/", {"name": "owned", "value": "owned"}),
            (self.services.mlflow, "POST", "2.0/mlflow/experiments/create", experiment),
            (self.services.mlflow, "POST", "2.0/mlflow/runs/set-tag", tag),
            (self.services.mlflow, "PUT", f"{artifacts}/artifacts/owned.txt", "owned"),
            (self.services.mlflow, "POST", f"{artifacts}/mpu/create/owned.txt", {"path": "owned"}),
            (self.services.mlflow, "POST", f"2.0/mlflow/{upload}", "owned"),
        )
        prefixes = {self.services.prefect: ("api",), self.services.mlflow: ("api", "ajax-api")}
        return [
            Request(f"{server}/{prefix}/{path}", method, json.dumps(body))
            for server, method, path, body in asked
            for prefix in prefixes[server]
        ]

    def made(self) -> dict[str, object]:
        """All that such a request could make or change."""
        prefect = ("deployment", "flow", "flow_run where auto_scheduled = 0", "work_pool")
        counted = [(PREFECT, table) for table in (*prefect, "variable")]
        counted += [(MLFLOW, table) for table in ("experiments", "runs", "tags")]
        counts = {
            table: self.rows(database, f"select count(*) from {table}")
            for database, table in counted
        }
        folders = {str(path): sorted(path.iterdir()) for path in (self.root, self.root / "mlruns")}
        return {**counts, **folders, "owned": sorted(self.root.rglob("*owned*"))}

    def say(self, request: Request, content_type: str, **more: Any) -> int:
        """Ask as a program does; return the status."""
        headers = {"Content-Type": content_type, **more.pop("headers", {})}
        body = request.body.encode()
        return httpx.request(
            request.method, request.url, content=body, headers=headers, timeout=60, **more
        ).status_code


@pytest.fixture(scope="module")
def up(own_retrained: tuple[ProjectFolder, Ran]) -> Iterator[Up]:
    """Serves until the last test."""
    folder, _ = own_retrained
    new = ["--cron", "0 3 1 1 *", "--name", "nightly", *overrides(*QUICK)]
    assert folder.pitchpipe("schedule", *new).code == 0
    ports = ["--mlflow-port", str(free_port(0)), "--prefect-port", str(free_port(0))]
    process = folder.start("up", *ports)
    printed = read_until(process, "Ctrl-C")
    up = Up(folder, psutil.Process(process.pid), services_of(folder.root), printed)
    until(lambda: bool(up.rows(PREFECT, "select id from deployment")))
    yield up
    process.terminate()
    process.communicate(timeout=60)


def until(condition: Callable[[], bool], *, seconds: float = 120) -> None:
    """Return once other processes have brought something about."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.2)  # there is no event of theirs to wait for


@pytest.fixture(scope="module")
def evil() -> Iterator[int]:
    """Port of somebody else's server, whose pages are empty."""

    class Empty(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Type", "text/html")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Empty) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield server.server_port
        server.shutdown()
        thread.join()


@pytest.fixture
def owner(page: Page, up: Up) -> Page:
    """A page of the owner's browser, which opened the link that `up` shows."""
    page.goto(f"{up.services.prefect}/?token={up.password}")
    expect(page.get_by_text("Dashboard").first).to_be_visible()
    return page


SEND = """async (requests) => {
  const types = ['text/plain', 'application/json', 'application/x-www-form-urlencoded', null]
  const said = []
  for (const {url, method, body} of requests)
    for (const mode of ['no-cors', 'cors'])
      for (const type of types)
        try {
          // Without a type Prefect takes a body for JSON, and so may be sent by any page.
          const sent = type === null ? {body: new Blob([body])}
                                     : {body, headers: {'Content-Type': type}}
          const answer = await fetch(url, {method, mode, credentials: 'include', ...sent})
          if (mode === 'cors') said.push(`${url}: ${await answer.text()}`)
        } catch {}
  return said
}"""

SUBMIT = """async (requests) => {
  for (const {url, body} of requests)
    await new Promise((done) => {
      document.body.innerHTML = '<iframe name=there></iframe>'
      const form = Object.assign(document.createElement('form'),
        {method: 'post', enctype: 'text/plain', target: 'there', action: url})
      const field = document.createElement('input')
      // name=value: JSON all the same
      field.name = body.slice(0, -1) + (body === '{}' ? '' : ', ') + '"a": "'
      field.value = '"}'
      form.append(field)
      document.body.append(form)
      document.querySelector('iframe').onload = done
      form.submit()
    })
}"""


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "evil.example"])
def test_a_page_of_another_origin_changes_nothing(
    owner: Page, up: Up, evil: int, host: str
) -> None:
    """Neither by fetch nor by forms: of the same host, to which the cookie goes, or of another."""
    before, statuses = up.made(), set[int]()
    requests = [{"url": one.url, "method": one.method, "body": one.body} for one in up.requests()]
    page = owner.context.new_page()
    page.goto(f"http://{host}:{evil}/")
    page.on("response", lambda answer: statuses.add(answer.status))

    said = page.evaluate(SEND, requests)
    page.evaluate(SUBMIT, requests)

    assert said == []
    assert statuses == {403}
    assert up.made() == before


READ = """async ({prefect, mlflow, picture}) => {
  const read = []
  for (const url of [`${prefect}/api/admin/version`, `${prefect}/ui-settings`,
                     `${mlflow}/ajax-api/2.0/mlflow/experiments/search?max_results=1`, picture])
    try {
      read.push(await (await fetch(url, {credentials: 'include'})).text())
    } catch {}
  await new Promise((done) => {
    const image = new Image()
    image.onload = () => { read.push('picture'); done() }
    image.onerror = done
    image.src = picture
  })
  await new Promise((done) => {
    const socket = new WebSocket(`${prefect.replace('http', 'ws')}/api/events/out`, 'prefect')
    socket.onopen = () => { read.push('socket'); done() }
    socket.onerror = done
  })
  return read
}"""


def test_a_page_of_another_origin_reads_nothing(owner: Page, up: Up, evil: int) -> None:
    """Of neither server: no answer, no picture, no events. Our own page reads all of them."""
    run = up.rows(MLFLOW, "select run_uuid from tags where key = 'verdict'")[0][0]
    picture = f"{up.services.mlflow}/get-artifact?run_uuid={run}&path=report/calibration.png"
    servers = {"prefect": up.services.prefect, "mlflow": up.services.mlflow, "picture": picture}
    page = owner.context.new_page()
    page.goto(f"http://127.0.0.1:{evil}/")

    assert page.evaluate(READ, servers) == []
    assert len(owner.evaluate(READ, servers)) == 3  # version, settings, events: Prefect's own
    owner.goto(up.services.mlflow)
    assert len(owner.evaluate(READ, servers)) == 3  # experiments, picture twice: MLflow's own


def test_a_name_that_was_led_here_opens_nothing(owner: Page, up: Up) -> None:
    """DNS rebinding: the browser takes the page for one of evil.example, whoever answers."""
    for server in (up.services.prefect, up.services.mlflow):
        page = owner.context.new_page()
        answered = page.goto(f"{server.replace('127.0.0.1', 'evil.example')}/?token={up.password}")
        assert answered is not None
        assert answered.status == 400


def test_one_link_opens_both_servers_and_what_links_between_them(page: Page, up: Up) -> None:
    """The cookie goes with a click from MLflow's pages to Prefect's; no request is refused."""
    refused: list[str] = []
    page.goto(f"{up.services.mlflow}/?token={up.password}#/experiments")
    page.on("response", lambda answer: refused.append(answer.url) if answer.status == 401 else None)
    expect(page.get_by_text("digits-classifier").first).to_be_visible()
    assert "token" not in page.url
    assert page.url.endswith("#/experiments")
    flow_run = up.rows(PREFECT, "select id, name from flow_run where state_type = 'COMPLETED'")[0]

    page.evaluate(
        """(url) => {
          document.body.innerHTML = `<a href="${url}">flow run</a>`
        }""",
        f"{up.services.prefect}/runs/flow-run/{flow_run[0]}",
    )
    page.get_by_text("flow run").click()

    expect(page.get_by_text(flow_run[1]).first).to_be_visible()
    assert refused == []


def test_who_is_not_signed_in_is_asked_for_the_password_and_led_on(page: Page, up: Up) -> None:
    """The page that was wanted is shown then, with what follows its #."""
    page.goto(f"{up.services.mlflow}/#/models")
    expect(page.get_by_role("heading", name="Sign in")).to_be_visible()

    page.get_by_label("Password").fill(up.password)
    page.get_by_role("button", name="Sign in").click()

    expect(page.get_by_text("digits-classifier").first).to_be_visible()
    assert page.url.endswith("#/models")


@pytest.mark.parametrize("content_type", ["application/json", "text/plain"])
def test_a_program_without_the_password_changes_nothing(up: Up, content_type: str) -> None:
    """Of any user of this machine; nor with the password by another name, or for another page."""
    before = up.made()
    requests = up.requests()

    assert {up.say(one, content_type) for one in requests} == {401, 403}  # 403: closed to all
    owner = httpx.BasicAuth(USER, up.password)
    host = {"Host": f"evil.example:{up.services.prefect.rpartition(':')[2]}"}
    assert {up.say(one, content_type, auth=owner, headers=host) for one in requests} == {400}
    origin = {"Origin": "http://evil.example"}
    assert {up.say(one, content_type, auth=owner, headers=origin) for one in requests} == {403}
    assert up.made() == before


def test_not_even_the_owner_writes_files_through_mlflow_or_starts_commands_through_prefect(
    up: Up,
) -> None:
    """Retrainings write artifacts themselves; how a flow run starts stands in the pool."""
    owner = httpx.BasicAuth(USER, up.password)
    before = up.made()
    wanted = [one for one in up.requests() if "artifact" in one.url or "touch owned" in one.body]
    statuses = [up.say(one, "application/json", auth=owner) for one in wanted]

    assert len(wanted) >= 6
    assert all(status >= 400 for status in statuses), statuses
    assert up.made() == before


def test_the_password_is_in_one_file_and_in_no_other_place(up: Up) -> None:
    """Nor in logs, databases, printed lines and command lines, after a schedule ran by it."""
    asked = up.folder.pitchpipe("schedule", "run-now", "nightly")
    assert asked.code == 0, asked.err
    ended = "select state_name from flow_run where auto_scheduled = 0 and deployment_id is not null"
    family: list[str] = []

    def has_ended() -> bool:
        for child in up.process.children(recursive=True):
            try:
                family.append(" ".join(child.cmdline()))
            except psutil.NoSuchProcess:
                continue
        return up.rows(PREFECT, ended) == [("Completed",)]

    until(has_ended)
    status = up.folder.pitchpipe("status", "--json")
    said = [up.printed, asked.out, asked.err, status.out, status.err, *family]
    files = [path for path in up.root.rglob("*") if path.is_file()]
    holding = [path for path in files if up.password.encode() in path.read_bytes()]

    assert status.document["services"][1]["answers"]
    assert any("prefect.engine" in line for line in family)
    assert not any(up.password in text for text in said)
    assert holding == [up.root / SERVICES]
    assert stat.S_IMODE(holding[0].stat().st_mode) == 0o600


def test_our_own_commands_know_the_password_where_the_user_names_the_server_of_up(up: Up) -> None:
    """An address in the environment, as before there was a password, is enough."""
    api = f"{up.services.prefect}/api"
    applied = up.folder.pitchpipe("schedule", "apply", PREFECT_API_URL=api)
    assert applied.code == 0, applied.err


def test_a_wrong_password_is_one_message_and_exit_2(up: Up) -> None:
    """It names the variable; what the user set is used as it is."""
    api = f"{up.services.prefect}/api"
    refused = up.folder.pitchpipe(
        "schedule", "apply", PREFECT_API_URL=api, PREFECT_API_AUTH_STRING="me:mine"
    )

    assert refused.code == 2
    assert refused.err == (
        f"pitchpipe: PREFECT_API_URL {api}: asks for a password; "
        "set PREFECT_API_AUTH_STRING to USER:PASSWORD\n"
    )


def test_the_server_that_a_search_starts_for_itself_is_guarded_too(
    tmp_path: Path, databases: Path
) -> None:
    """Without `up`: whoever finds its port gets nothing, and its password is in no file."""
    project = make_project(tmp_path / "project")
    put_databases(databases, project.root)
    process = project.start("tune", "--json", *overrides(*QUICK))
    api = password = ""

    def has_server() -> bool:
        nonlocal api, password
        for child in psutil.Process(process.pid).children(recursive=True):
            words = child.cmdline()
            if "--port" in words:
                api = f"http://127.0.0.1:{words[words.index('--port') + 1]}/api"
                password = child.environ()[guarded_apps.AUTH].partition(":")[2]
        return bool(api) and answers(f"{api}/health")

    until(has_server)
    refused = httpx.post(f"{api}/flows/", json={"name": "owned"}).status_code
    out, err = process.communicate(timeout=240)
    files = [path for path in project.root.rglob("*") if path.is_file()]

    assert refused == 401
    assert process.returncode == 0, err
    assert json.loads(out)["trials"]["trained"] == 2
    assert len(password) >= 22
    assert password not in out + err
    assert [path for path in files if password.encode() in path.read_bytes()] == []
