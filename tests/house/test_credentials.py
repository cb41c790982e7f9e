"""Passwords in URLs: taken out before anything is shown, stored or handed on."""

import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from mlflow.exceptions import MlflowException
from prefect.settings import PREFECT_API_URL, temporary_settings
from registry_records import NAME, flow_run_info

from flows.runtime.prefect_server import RunningServices, prefect_api
from flows.runtime.servers import mlflow_environment, mlflow_server
from flows.schedules.status_page import Link, StatusPage
from flows.schedules.up import announce, links
from flows.tracking.mirror import Mirror
from flows.tracking.store import Tracking, TrackingError, mlflow_errors, open_tracking
from flows.tracking.writer import error_line
from models.credentials import without_credentials
from models.errors import PitchpipeError
from models.processes import this_process

SECRET = "s3cr3t"
URLS = {
    "https://user:s3cr3t@host:8080/a": "https://host:8080/a",
    "https://s3cr3t@host/a": "https://host/a",
    "https://host:8080/a@b": "https://host:8080/a@b",
    "postgresql+psycopg2://user:s3cr3t/1@host:5432/db": "postgresql+psycopg2://host:5432/db",
    "postgresql://user:p@s3cr3t@host/db?sslmode=require": "postgresql://host/db",
    "mysql://host/db?password=s3cr3t": "mysql://host/db",
    "azure://box/path?sig=s3cr3t": "azure://box/path",
    "https://host/a?token=s3cr3t'x": "https://host/a",
    "https://host/a?sig=(s3cr3t)x&b=1": "https://host/a",
    "https://host/cb#access_token=s3cr3t": "https://host/cb",
    "https://host/?a=b#s3cr3t": "https://host/",
    "https://host/#/runs?token=s3cr3t": "https://host/#/runs",
    "https://host/#/experiments/7/runs": "https://host/#/experiments/7/runs",
    "host:5000?token=s3cr3t": "host:5000",
    "s3://bucket/path": "s3://bucket/path",
    "sqlite:///mlruns/mlflow.db": "sqlite:///mlruns/mlflow.db",
    "git@host:team/project.git": "git@host:team/project.git",
    "/data/store": "/data/store",
}


@pytest.mark.parametrize("url", URLS)
def test_golden(url: str) -> None:
    """What names the place stays; who is let in does not."""
    assert without_credentials(url) == URLS[url]
    said = f"API request to {url} failed, and {url} too"
    assert without_credentials(said) == f"API request to {URLS[url]} failed, and {URLS[url]} too"


@given(st.text(st.characters(codec="ascii", categories=("L", "N")), min_size=8, max_size=20))
def test_no_password_is_left(password: str) -> None:
    """Whatever its letters; and what is clean stays as it is."""
    shown = without_credentials(f"https://user:~{password}~@host.example:1/path")
    assert f"~{password}~" not in shown
    assert without_credentials(shown) == shown == "https://host.example:1/path"


@given(
    secret=st.text(st.characters(codec="ascii", categories=("L", "N", "P", "S")), min_size=3),
    url=st.sampled_from(["https://host/a?k={}", "db://host?k={}&b=c", "http://host/b#k={}"]),
    around=st.sampled_from(["{}", "no answer from {} (again)", "'{}'", "({}): refused", "<{}>."]),
)
def test_no_secret_of_a_query_or_a_fragment_is_left(secret: str, url: str, around: str) -> None:
    """Whatever its characters, and wherever in a sentence the URL is."""
    shown = without_credentials(around.format(url.format(f"~{secret}~")))
    assert f"~{secret}" not in shown
    assert "://host" in shown


def test_what_mlflow_says_is_shown_without_the_password(monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither the store's address nor the address in MLflow's own message has it."""
    monkeypatch.setattr("mlflow.get_tracking_uri", lambda: "https://user:s3cr3t@host")
    with pytest.raises(TrackingError, match="https://host") as raised, mlflow_errors():
        raise MlflowException("API request to https://user:s3cr3t@host/api failed")
    assert SECRET not in str(raised.value)


def test_a_tracking_server_that_is_away_is_named_without_the_password(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A version needs its run; who waits for it in vain is told where."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://user:s3cr3t@127.0.0.1:9")
    mirror = Mirror(open_tracking(NAME), flow_run_info())
    with pytest.raises(TrackingError, match=r"http://127\.0\.0\.1:9 took nothing") as raised:
        mirror.wait_for_parent(timeout=0.1)
    mirror.finish("FAILED", timeout=0.1)
    assert SECRET not in str(raised.value)


def test_an_unreachable_prefect_is_named_without_the_password(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """PREFECT_API_URL may hold one."""
    monkeypatch.chdir(tmp_path)
    api = "http://user:s3cr3t@127.0.0.1:9/api"
    monkeypatch.setenv("PREFECT_API_URL", api)
    with (
        temporary_settings({PREFECT_API_URL: api}),  # read once, when Prefect is first imported
        prefect_api() as ready,
        pytest.raises(PitchpipeError, match=r"http://127\.0\.0\.1:9/api") as raised,
    ):
        ready()
    assert SECRET not in str(raised.value)


def test_up_shows_and_keeps_addresses_without_passwords(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Neither on the terminal nor in the file by which `run` finds the services."""
    monkeypatch.chdir(tmp_path)
    store = "https://user:s3cr3t@mlflow.example"
    far = Tracking(uri=store, name=NAME)
    far.__dict__["experiment_id"] = "7"  # as the server would have answered
    services = announce("http://127.0.0.1:4200", store, "ours")
    with StatusPage(links(services, far), tmp_path / "none.log"):
        shown = capsys.readouterr().out
    assert "https://mlflow.example/#/experiments/7/runs" in shown
    assert "ours" not in shown
    assert SECRET not in shown
    written = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert written
    assert not any(SECRET in path.read_text() for path in written)


OURS = "http://127.0.0.1:5000"
LINK = Link("Runs", OURS, page="#/experiments/1", password=SECRET, note="empty")


def test_the_password_of_our_servers_is_not_printed_into_a_log(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Where nobody sits at a terminal: the file that holds it is named."""
    monkeypatch.chdir(tmp_path)
    with StatusPage([LINK], tmp_path / "none.log"):
        shown = capsys.readouterr().out
    assert f"Runs     {OURS}/#/experiments/1  (empty)\nPassword in .prefect/services.json" in shown
    assert SECRET not in shown


def test_a_terminal_is_shown_links_that_sign_in(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Whole, and to be clicked, however narrow the terminal."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("COLUMNS", "40")
    with StatusPage([LINK], tmp_path / "none.log"):
        shown = capsys.readouterr().out
    whole = f"{OURS}/?token={SECRET}#/experiments/1"
    pieces = re.findall(r"\x1b]8;[^;]*;(http[^\x1b]*)\x1b\\([^\x1b]*)", shown)
    assert {target for target, _ in pieces} == {whole}
    assert "".join(text for _, text in pieces) == whole


def test_what_an_earlier_release_wrote_of_its_services_is_read() -> None:
    """Its servers asked for no password; one that is there is not shown by accident."""
    services = RunningServices(
        process=this_process(), prefect="http://127.0.0.1:4200", mlflow=OURS, password=SECRET
    )
    earlier = services.model_dump_json(exclude={"password"})

    assert "password" not in earlier
    assert RunningServices.model_validate_json(earlier).password is None
    assert SECRET not in repr(services)


def test_a_databases_password_is_not_in_the_command_line_of_mlflow() -> None:
    """Every user of the host can read a command line; the environment only its owner."""
    uri = "postgresql://user:s3cr3t@host/db"
    server = mlflow_server(5000)
    assert SECRET not in " ".join(server.arguments)
    assert mlflow_environment(uri, "ours")["MLFLOW_BACKEND_STORE_URI"] == uri


def test_refusals_are_noted_without_the_password() -> None:
    """They end in the summary and in the log."""
    assert SECRET not in error_line(MlflowException("to https://user:s3cr3t@host/api: no"))
