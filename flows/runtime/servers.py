"""Servers that pitchpipe starts on loopback: Prefect's for a run, and MLflow's for `up`."""

import contextlib
import os
import secrets
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Mapping, Sequence
from http.client import HTTPException
from pathlib import Path
from types import TracebackType
from typing import Self

import psutil

from flows.runtime import guarded_apps
from flows.runtime.environment import is_address
from models.errors import BusyError, PitchpipeError

LOOPBACK = "127.0.0.1"
USER = "pitchpipe"
"""Name that goes with the password of our servers."""
PREFECT_HOME = Path(".prefect")
PREFECT_LOG = PREFECT_HOME / "server.log"
SCHEDULES_LOG = PREFECT_HOME / "schedules.log"
MLFLOW_LOG = Path("mlruns/ui.log")


class Child:
    """A Python process that starts in the background and ends with us (runtime/supervisor.py)."""

    def __init__(self, title: str, arguments: Sequence[str], *, log: Path) -> None:
        self.title = title
        self.arguments = arguments
        self.log = log
        self._process: subprocess.Popen[bytes] | None = None

    def start(self, environment: Mapping[str, str]) -> Self:
        """Start the process; its output goes to its log file."""
        self.log.parent.mkdir(parents=True, exist_ok=True)
        command = [sys.executable, "-m", "flows.runtime.supervisor", *self.arguments]
        with self.log.open("ab") as log:
            # A group of its own: Ctrl-C reaches this process only, which stops the others in order.
            self._process = subprocess.Popen(  # noqa: S603 - our own interpreter and arguments
                command,
                env={**os.environ, **environment},
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        return self

    @property
    def alive(self) -> bool:
        """Whether the process runs."""
        return self._process is not None and self._process.poll() is None

    def ask_to_end(self) -> None:
        """Send SIGTERM without waiting, so that several processes end at the same time."""
        if self._process is not None:
            self._process.terminate()

    def stop(self, *, grace_seconds: float = 2) -> None:
        """End the process and its children; kill them if they do not end in time."""
        if self._process is None:
            return
        self.ask_to_end()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(grace_seconds)
        with self._process:  # closes its standard input, which kills those that are left
            pass

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()


class Server(Child):
    """A server of ours on loopback."""

    def __init__(
        self, title: str, arguments: Sequence[str], *, port: int, health: str, log: Path
    ) -> None:
        super().__init__(title, arguments, log=log)
        self.url = f"http://{LOOPBACK}:{port}"
        self._port = port
        self._health = f"{self.url}{health}"

    def wait_ready(self, *, seconds: float = 120) -> None:
        """Wait until the server answers. Raises PitchpipeError if it ends or takes too long."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            if not self.alive:
                raise PitchpipeError(f"{self.title} ended while starting; see {self.log}")
            if self._listens() and answers(self._health):
                return
            time.sleep(0.1)  # the server sends no event when it is ready
        raise PitchpipeError(f"{self.title} did not answer in {seconds:.0f} s; see {self.log}")

    def _listens(self) -> bool:
        """Whether this server has the port: another program may have taken it meanwhile."""
        if self._process is None:
            return False
        try:
            server = psutil.Process(self._process.pid)
            return any(
                connection.laddr.port == self._port and connection.status == psutil.CONN_LISTEN
                for process in (server, *server.children(recursive=True))
                for connection in process.net_connections(kind="tcp")
            )
        except psutil.NoSuchProcess:
            return False


def new_password() -> str:
    """Draw a password for servers that are about to be started."""
    return secrets.token_urlsafe(16)


def prefect_server(port: int) -> Server:
    """Prefect's API and UI, which ask for a password (flows.runtime.guard)."""
    application = guarded_apps.prefect_app.__name__
    return _guarded("the Prefect server", application, port, health="/api/health", log=PREFECT_LOG)


def mlflow_server(port: int) -> Server:
    """MLflow's UI over what is recorded, which asks for a password and takes no artifacts in."""
    application = guarded_apps.mlflow_app.__name__
    return _guarded("the MLflow UI", application, port, health="/health", log=MLFLOW_LOG)


def _guarded(title: str, application: str, port: int, *, health: str, log: Path) -> Server:
    """Let uvicorn serve one of our applications.

    It is started directly: `prefect server start` adds a process that would outlive a kill of
    ours, `mlflow server` four workers of 1.7 GB. Requests are not logged: a link holds a password.
    """
    bind = ["--host", LOOPBACK, "--port", str(port), "--log-level", "error", "--lifespan", "on"]
    factory = ["--factory", f"{guarded_apps.__name__}:{application}"]
    arguments = ["-m", "uvicorn", *factory, *bind, "--no-access-log"]
    return Server(title, arguments, port=port, health=health, log=log)


def schedule_worker() -> Child:
    """The process that serves the schedules, and is the parent of their flow runs."""
    return Child("the schedules' worker", ["-m", "flows.schedules.worker"], log=SCHEDULES_LOG)


def schedules_environment(prefect: Mapping[str, str]) -> dict[str, str]:
    """Environment of the schedules' worker: Prefect's, with a query for due runs every 2 s.

    prefect: how to reach the server, where the environment does not say so already.
    """
    every = os.environ.get("PREFECT_WORKER_QUERY_SECONDS", "2")  # Prefect's own: 10
    return {
        **prefect,
        "PREFECT_WORKER_QUERY_SECONDS": every,
        # A run that is started early would be refused by one that ends before its scheduled time.
        "PREFECT_WORKER_PREFETCH_SECONDS": "0",
        "PYTHONUNBUFFERED": "1",
    }


def mlflow_environment(tracking_uri: str, password: str) -> dict[str, str]:
    """Environment of an MLflow UI of ours over a store.

    All users of the host can read command lines, and the store's address may hold a password.
    """
    return {
        guarded_apps.AUTH: f"{USER}:{password}",
        "MLFLOW_BACKEND_STORE_URI": tracking_uri,
        # The UI needs no job runner: that would be ten more processes.
        "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
    }


def server_environment(api_url: str, password: str) -> dict[str, str]:
    """Environment of a Prefect server of ours, and of the process that talks to it."""
    auth = f"{USER}:{password}"
    return {
        guarded_apps.AUTH: auth,
        "PREFECT_HOME": str(PREFECT_HOME.resolve()),
        "PREFECT_API_URL": api_url,
        "PREFECT_API_AUTH_STRING": auth,
        "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
        # Prefect's default lets pages of every origin read what it answers.
        "PREFECT_SERVER_CORS_ALLOWED_ORIGINS": api_url.removesuffix("/api"),
        "PREFECT_UI_API_URL": api_url,
    }


def free_port(preferred: int) -> int:
    """Return the preferred port if it is free, else one that the system chooses."""
    for port in (preferred, 0):
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((LOOPBACK, port))
            except OSError:
                continue
            return int(probe.getsockname()[1])
    raise BusyError(f"no free port on {LOOPBACK}; close a server and try again")


def answers(url: str) -> bool:
    """Whether a GET of a URL returns 200; False for what is no URL."""
    if not is_address(url):
        return False
    try:
        with urllib.request.urlopen(url, timeout=2) as response:  # noqa: S310 - http, as seen above
            return bool(response.status == 200)
    # HTTPException: another protocol, such as SSH; ValueError: redirects.
    except (OSError, HTTPException, ValueError):
        return False
