"""Checks of the machine: folders, disk, packages, environment, ports, processes."""

import os
import shutil
import socket
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path

import psutil
from packaging.requirements import Requirement

from flows.runtime.prefect_server import SERVICES, UP_MLFLOW, UP_PREFECT, RunningServices
from flows.runtime.retraining_lock import LOCK, holder
from flows.runtime.servers import MLFLOW_LOG, PREFECT_LOG, answers
from flows.upkeep.doctor.finding import Finding, error, warning
from models.config import read_record
from models.credentials import without_credentials

_FOLDERS = ("data", "data/raw", "data/prepared", "mlruns", "mlruns/trials", ".prefect", ".dvc")
_GB = 1 << 30
FEW_GB, TOO_FEW_GB = 5.0, 0.5


def folders() -> Iterator[Finding]:
    """Find files in the place of folders, folders of other users, and world-writable ones."""
    for name in _FOLDERS:
        path = Path(name)
        if not path.exists():
            continue
        if not path.is_dir():
            yield error(f"{path} is a file, and a folder is expected", f"mv {path} {path}.moved")
        elif not os.access(path, os.R_OK | os.W_OK | os.X_OK):
            yield error(f"{path} is not writable", f'sudo chown -R "$USER" {path}')
        elif path.stat().st_uid != Path().stat().st_uid:
            yield warning(
                f"{path} belongs to another user than the project: made with sudo?",
                f'sudo chown -R "$USER" {path}',
            )
        elif path.stat().st_mode & 0o002:
            yield warning(f"{path} is writable for all users of the host", f"chmod o-w {path}")


def disk() -> Iterator[Finding]:
    """Check the free space."""
    free = shutil.disk_usage(Path()).free / _GB
    if free < FEW_GB:
        finding = error if free < TOO_FEW_GB else warning
        yield finding(f"{free:.1f} GB are free on the project's disk", "pitchpipe gc; dvc gc -w")


def packages() -> Iterator[Finding]:
    """Compare installed packages with the ranges that pitchpipe supports."""
    for text in metadata.requires("pitchpipe") or ():
        wanted = Requirement(text)
        if wanted.marker is not None and not wanted.marker.evaluate({"extra": ""}):
            continue
        remedy = f"pip install -c constraints.txt '{wanted.name}{wanted.specifier}'"
        try:
            have = metadata.version(wanted.name)
        except metadata.PackageNotFoundError:
            yield error(f"{wanted.name} is not installed", remedy)
            continue
        if not wanted.specifier.contains(have, prereleases=True):
            yield error(
                f"{wanted.name} {have} is installed; {wanted.specifier} is supported", remedy
            )


def environment() -> Iterator[Finding]:
    """Find environment variables that redirect MLflow or Prefect."""
    if "MLFLOW_RUN_ID" in os.environ:
        yield warning(
            "MLFLOW_RUN_ID is set: plain mlflow calls of yours would write into that run",
            "unset MLFLOW_RUN_ID",
        )
    if os.environ.get("MLFLOW_ALLOW_PICKLE_DESERIALIZATION", "false").lower() != "false":
        yield warning(
            "MLFLOW_ALLOW_PICKLE_DESERIALIZATION lets files of versions execute code on loading",
            "unset MLFLOW_ALLOW_PICKLE_DESERIALIZATION",
        )
    yield from _tracking_uri(os.environ.get("MLFLOW_TRACKING_URI", ""))
    api = os.environ.get("PREFECT_API_URL")
    if api and not answers(f"{api.removesuffix('/')}/health"):
        yield error(
            f"PREFECT_API_URL {without_credentials(api)} does not answer",
            "start that server, or: unset PREFECT_API_URL",
        )


def _tracking_uri(uri: str) -> Iterator[Finding]:
    scheme = uri.partition(":")[0]
    if scheme in ("http", "https"):
        if not answers(f"{uri.removesuffix('/')}/health"):
            yield error(
                f"MLFLOW_TRACKING_URI {without_credentials(uri)} does not answer",
                "start that server, or: unset MLFLOW_TRACKING_URI",
            )
    elif uri and (scheme == "file" or "://" not in uri):
        yield error(
            f"MLFLOW_TRACKING_URI {uri} is a folder, which MLflow 3 no longer writes to",
            "unset MLFLOW_TRACKING_URI; `mlflow migrate-filestore` converts old runs",
        )


def services() -> Iterator[Finding]:
    """Check that `pitchpipe up` answers where it runs, and that its ports are free otherwise."""
    known = read_record(SERVICES, RunningServices)
    if known is None or not known.process.alive:
        for url in (UP_MLFLOW, UP_PREFECT):
            yield from _port(int(url.rpartition(":")[2]))
        return
    for name, url, health, log in (
        ("the MLflow UI", known.mlflow, "/health", MLFLOW_LOG),
        ("the Prefect server", known.prefect, "/api/health", PREFECT_LOG),
    ):
        if not answers(f"{url}{health}"):
            yield error(
                f"{name} of `pitchpipe up` does not answer at {url}; see {log}",
                f"kill {known.process.pid}; pitchpipe up",
            )


def _port(port: int) -> Iterator[Finding]:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            yield warning(
                f"port {port} is taken by {_listener(port)}",
                "end that program; otherwise `pitchpipe up` uses another port",
            )


def _listener(port: int) -> str:
    try:
        for connection in psutil.net_connections(kind="tcp"):
            if connection.laddr and connection.laddr.port == port and connection.pid:
                return f"process {connection.pid} ({psutil.Process(connection.pid).name()})"
    except psutil.Error:
        pass
    return "another program"


def locks() -> Iterator[Finding]:
    """Find a retraining lock that outlived its retraining."""
    owner = holder()
    if owner is not None and not owner.process.alive:
        yield error(
            f"{LOCK} is held, though process {owner.process.pid} ({owner.command}) ended: by one "
            "of its children",
            f"fuser -k {LOCK}",
        )
