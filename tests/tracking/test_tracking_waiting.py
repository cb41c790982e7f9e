"""A tracking server that never answers: who waits for it is told, and who interrupts is let go."""

import logging
import queue
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from registry_records import NAME, flow_run_info
from stub_server import failing_server

from flows.tracking import store, writer
from flows.tracking.mirror import Mirror
from flows.tracking.store import TrackingError, mlflow_errors, open_tracking


@pytest.fixture
def silent(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[str]:
    """Address of a tracking server that takes requests and never answers."""
    monkeypatch.chdir(tmp_path)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        address = f"127.0.0.1:{listener.getsockname()[1]}"
        monkeypatch.setenv("MLFLOW_TRACKING_URI", f"http://user:s3cr3t@{address}")
        monkeypatch.setenv("MLFLOW_HTTP_REQUEST_TIMEOUT", "1")
        monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
        yield f"http://{address}"


class Lines(logging.Handler):
    """Lines of a log, as they come."""

    def __init__(self) -> None:
        super().__init__()
        self.said: queue.Queue[str] = queue.Queue()

    def emit(self, record: logging.LogRecord) -> None:
        """Keep what was said."""
        self.said.put(record.getMessage())


@pytest.fixture
def lines() -> Iterator[Lines]:
    """What the store says meanwhile."""
    handler = Lines()
    store.log.addHandler(handler)
    yield handler
    store.log.removeHandler(handler)


def test_who_is_waited_for_is_said_once_while_waiting(
    silent: str, lines: Lines, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its address without the password, for how long, and what to change."""
    monkeypatch.setattr(store, "PATIENCE_SECONDS", 0.1)
    tracking = open_tracking(NAME)
    for _ in range(2):
        with pytest.raises(TrackingError), mlflow_errors():
            _ = tracking.experiment_id
    said = lines.said.get_nowait()

    assert said.startswith(f"waiting for MLflow at {silent}: each request has 1 s")
    assert "MLFLOW_HTTP_REQUEST_TIMEOUT" in said
    assert "MLFLOW_HTTP_REQUEST_MAX_RETRIES" in said
    assert lines.said.empty()


def test_who_interrupts_a_retraining_does_not_wait_for_mlflow(silent: str) -> None:
    """`sync` tells it later; a retraining that ends by itself waits for half a minute."""
    assert silent
    mirror = Mirror(open_tracking(NAME), flow_run_info())
    began = time.monotonic()

    report = mirror.finish("KILLED")

    assert report.waiting > 0
    assert time.monotonic() - began < 15


def test_the_address_of_a_run_is_not_printed(
    silent: str, capfd: pytest.CaptureFixture[str]
) -> None:
    """MLflow's client would print it at each run's end, with the password in it."""
    assert silent
    tracking = open_tracking(NAME)
    # It would ask the server for the run first.
    tracking.client._tracking_client._log_url("a run")  # type: ignore[no-untyped-call]

    assert capfd.readouterr().out == ""


@pytest.mark.parametrize("how", ["500", "down"])
def test_who_interrupts_does_not_wait_for_an_mlflow_that_failed_before(
    how: str, lines: Lines, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """That it fails was seen and said; what it lacks is in the journal."""
    monkeypatch.chdir(tmp_path)
    writer.log.addHandler(lines)
    with failing_server(how) as address:
        monkeypatch.setenv("MLFLOW_TRACKING_URI", address)
        monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
        mirror = Mirror(open_tracking(NAME), flow_run_info())
        said = lines.said.get(timeout=30)
        began = time.monotonic()
        report = mirror.finish("KILLED")
        seconds = time.monotonic() - began
    writer.log.removeHandler(lines)

    assert said.startswith("MLflow is not reached, training goes on")
    assert report.waiting > 0
    assert seconds < 1
