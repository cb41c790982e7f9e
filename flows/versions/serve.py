"""A version served over HTTP on loopback, by MLflow's own scoring server behind our guard."""

import os
import sys

from flows.registry.loading import open_version
from flows.runtime import guarded_apps
from flows.runtime.servers import LOOPBACK
from flows.tracking.store import Tracking


def serve_version(tracking: Tracking, wanted: str, *, port: int) -> None:
    """Become MLflow's scoring server for a version, after its files were checked.

    The server is given the folder that was checked: by the version's name MLflow would fetch remote
    files once more, and they could be others. Who can write to the folder is trusted.
    Programs of this machine may ask it, pages of other origins may not. The process is replaced:
    signals reach the server itself. Raises as `open_version` does.
    """
    folder = open_version(tracking, wanted).directory.resolve()
    factory = f"{guarded_apps.__name__}:{guarded_apps.scoring_app.__name__}"
    command = [sys.executable, "-m", "uvicorn", "--factory", factory]
    command += ["--host", LOOPBACK, "--port", str(port)]
    environment = {
        **os.environ,
        guarded_apps.MODEL_URI: str(folder),
        "MLFLOW_TRACKING_URI": tracking.uri,
        "MLFLOW_ALLOW_PICKLE_DESERIALIZATION": "false",
    }
    os.execve(sys.executable, command, environment)  # noqa: S606 - our own interpreter
