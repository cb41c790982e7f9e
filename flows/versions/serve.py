"""A version served over HTTP on loopback, by MLflow's own scoring server."""

import os
import sys
from pathlib import Path

from flows.registry.loading import open_version
from flows.runtime.servers import LOOPBACK
from flows.tracking.store import Tracking


def serve_version(tracking: Tracking, wanted: str, *, port: int) -> None:
    """Become MLflow's scoring server for a version, after its files were checked.

    The process is replaced: signals reach the server itself. Raises as `open_version` does.
    """
    record = open_version(tracking, wanted).record
    uri = f"models:/{record.name}/{record.version}"
    command = [sys.executable, "-m", "mlflow", "models", "serve", "--model-uri", uri]
    command += ["--env-manager", "local", "--host", LOOPBACK, "--port", str(port)]
    environment = {
        **os.environ,
        # MLflow starts `uvicorn` by name; it is beside the interpreter, active or not.
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}",
        "MLFLOW_TRACKING_URI": tracking.uri,
        "MLFLOW_ALLOW_PICKLE_DESERIALIZATION": "false",
    }
    os.execve(sys.executable, command, environment)  # noqa: S606 - our own interpreter
