"""`pitchpipe open`: the pages of `up`, without a password where others could read it."""

import contextlib
import threading
import webbrowser
from collections.abc import Iterator
from pathlib import Path

import pytest
import uvicorn
from playwright.sync_api import Page, expect
from project_folder import ProjectFolder
from registry_records import NAME
from starlette.responses import HTMLResponse

from flows.runtime.guard import guarded
from flows.runtime.prefect_server import SERVICES
from flows.runtime.servers import LOOPBACK, free_port
from flows.schedules.opening import DOOR, open_in_browser, page_link
from flows.schedules.status_page import Link
from flows.schedules.up import announce
from flows.tracking.store import Tracking
from models.errors import ConfigError, PitchpipeError

pytest_plugins = ["registry_fixtures", "browser_fixtures"]

SECRET = "s3cr3t"
PREFECT, MLFLOW = "http://127.0.0.1:4200", "http://127.0.0.1:5000"


class Opened(webbrowser.BaseBrowser):
    """A browser that only remembers."""

    def __init__(self) -> None:
        super().__init__("remembers")
        self.addresses: list[str] = []

    def open(self, url: str, new: int = 0, autoraise: bool = True) -> bool:  # noqa: FBT001, FBT002 - as it is called
        del new, autoraise
        self.addresses.append(url)
        return True


@pytest.fixture
def served(project: ProjectFolder) -> ProjectFolder:
    """A project in which `up` is said to run: by this process."""
    with contextlib.chdir(project.root):
        SERVICES.parent.mkdir()
        announce(PREFECT, MLFLOW, SECRET)
    return project


def test_the_browser_is_given_a_private_file_and_no_password(
    served: ProjectFolder, tmp_path: Path
) -> None:
    """Its command line can be read by every user of the machine."""
    said = tmp_path / "said"
    browser = tmp_path / "browser"
    browser.write_text(f'#!/bin/sh\necho "$@" > {said}\n')
    browser.chmod(0o755)

    ran = served.pitchpipe("open", "flows", BROWSER=f"{browser} %s")

    door = served.root / DOOR
    assert (ran.code, ran.out) == (0, f"{PREFECT}\n"), ran.err
    assert said.read_text().strip() == door.as_uri()
    assert door.stat().st_mode & 0o777 == 0o600
    assert f"{PREFECT}/?token={SECRET}" in door.read_text()
    assert SECRET not in ran.out + ran.err + said.read_text()


def test_an_address_that_is_printed_into_a_file_has_no_password(served: ProjectFolder) -> None:
    """Where it is, is said beside it."""
    ran = served.pitchpipe("open", "flows", "--print")

    assert (ran.code, ran.out) == (0, f"{PREFECT}\n")
    assert str(SERVICES) in ran.err
    assert SECRET not in ran.err
    assert not (served.root / DOOR).exists()


def test_a_teams_prefect_server_is_told_no_password_of_ours(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """`up` serves beside it; the page is opened as its users open it."""
    monkeypatch.chdir(tmp_path)
    SERVICES.parent.mkdir()
    announce(PREFECT, MLFLOW, SECRET, own_prefect=False)

    def unasked() -> Tracking:
        raise AssertionError("Prefect's page asked MLflow")

    assert page_link("flows", unasked) == Link("Prefect", PREFECT)


def test_without_up_it_is_said_how_to_start_it(project: ProjectFolder) -> None:
    """Exit 1."""
    ran = project.pitchpipe("open", "flows")

    assert (ran.code, ran.out) == (1, "")
    assert "start it in another terminal" in ran.err


def test_where_no_browser_is_nothing_is_opened(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """And no password is written down."""
    monkeypatch.chdir(tmp_path)

    def none() -> webbrowser.BaseBrowser:
        raise webbrowser.Error("could not locate runnable browser")

    monkeypatch.setattr(webbrowser, "get", none)

    assert not open_in_browser(Link("Prefect", PREFECT, password=SECRET))
    assert list(tmp_path.iterdir()) == []


def test_pages_of_mlflow_are_those_of_the_project(tracking: Tracking) -> None:
    """The retrainings, and the champion's page; where there is none, the reason."""
    SERVICES.parent.mkdir()
    announce(PREFECT, MLFLOW, SECRET)
    with pytest.raises(ConfigError, match="no version 'champion'"):
        page_link("champion", lambda: tracking)
    tracking.client.create_registered_model(NAME)
    tracking.client.create_model_version(NAME, str(Path("mlruns").absolute()))
    tracking.client.set_registered_model_alias(NAME, "champion", "1")

    champion = page_link("champion", lambda: tracking)

    assert champion.public == f"{MLFLOW}/#/models/{NAME}/versions/1"
    assert champion.password == SECRET
    assert page_link("runs", lambda: tracking).public.startswith(f"{MLFLOW}/#/experiments/")
    with pytest.raises(ConfigError, match="has no report"):
        page_link("report", lambda: tracking)
    SERVICES.unlink()
    with pytest.raises(PitchpipeError, match="start it in another terminal"):
        page_link("runs", lambda: tracking)


def test_a_page_without_a_password_is_opened_as_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    """A file, or a server of the user's own."""
    browser = Opened()
    monkeypatch.setattr(webbrowser, "get", lambda: browser)

    assert open_in_browser(Link("Report", "file:///report.html"))

    assert browser.addresses == ["file:///report.html"]


@pytest.fixture
def guarded_page() -> Iterator[Link]:
    """A page behind the guard, as MLflow's are."""
    page = guarded(HTMLResponse("<h1>in</h1>"), auth=f"pitchpipe:{SECRET}")
    port = free_port(0)
    config = uvicorn.Config(page, host=LOOPBACK, port=port, log_level="error", lifespan="off")
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run)
    thread.start()
    try:
        while not server.started:
            thread.join(0.01)
        yield Link("Runs", f"http://{LOOPBACK}:{port}", page="#/models?a=b&c=d", password=SECRET)
    finally:
        server.should_exit = True
        thread.join()


def test_the_private_file_signs_a_browser_in(
    page: Page, guarded_page: Link, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On the page that was asked for, with no token in its address."""
    monkeypatch.chdir(tmp_path)
    DOOR.parent.mkdir()
    browser = Opened()
    monkeypatch.setattr(webbrowser, "get", lambda: browser)
    open_in_browser(guarded_page)

    page.goto(browser.addresses[0])

    expect(page.get_by_role("heading", name="in")).to_be_visible()
    assert page.url == guarded_page.public
