"""A version served over HTTP on loopback, by MLflow's own scoring server behind our guard."""

import os
import sys

from flows.registry.loading import open_version
from flows.runtime import guarded_apps
from flows.runtime.servers import LOOPBACK
from flows.tracking.store import Tracking


def serve_version(tracking: Tracking, wanted: str, *, port: int) -> None:
    """Become MLflow's scoring server for a version, after its files were checked.

    Programs of this machine may ask it, pages of other origins may not. The process is replaced:
    signals reach the server itself. Raises as `open_version` does.
    """
    record = open_version(tracking, wanted).record
    factory = f"{guarded_apps.__name__}:{guarded_apps.scoring_app.__name__}"
    command = [sys.executable, "-m", "uvicorn", "--factory", factory]
    command += ["--host", LOOPBACK, "--port", str(port)]
    environment = {
        **os.environ,
        guarded_apps.MODEL_URI: f"models:/{record.name}/{record.version}",
        "MLFLOW_TRACKING_URI": tracking.uri,
        "MLFLOW_ALLOW_PICKLE_DESERIALIZATION": "false",
    }
    os.execve(sys.executable, command, environment)  # noqa: S606 - our own interpreter
