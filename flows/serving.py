"""A version served over HTTP on loopback, by MLflow's own scoring server."""

import os
import sys
from pathlib import Path

from flows.registry import open_version
from flows.services import LOOPBACK
from flows.tracking import Tracking


def serve(tracking: Tracking, wanted: str, *, port: int) -> None:
    """Become MLflow's scoring server for a version, after its files were checked.

    The server is given the folder that was checked just now: by the version's name it would fetch
    remote files once more, and they could be others. Who can write to the folder is trusted.
    The process is replaced: signals reach the server itself. Raises as `open_version` does.
    """
    folder = open_version(tracking, wanted).directory.resolve()
    command = [sys.executable, "-m", "mlflow", "models", "serve", "--model-uri", str(folder)]
    command += ["--env-manager", "local", "--host", LOOPBACK, "--port", str(port)]
    environment = {
        **os.environ,
        # MLflow starts `uvicorn` by name; it is beside the interpreter, active or not.
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}",
        "MLFLOW_TRACKING_URI": tracking.uri,
        "MLFLOW_ALLOW_PICKLE_DESERIALIZATION": "false",
    }
    os.execve(sys.executable, command, environment)  # noqa: S606 - our own interpreter
