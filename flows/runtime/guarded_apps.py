"""What uvicorn serves for `up` and `run`: Prefect's and MLflow's application behind our guard.

uvicorn makes them by these functions, in processes of their own; nothing is imported before.
"""

import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from starlette.types import ASGIApp

AUTH = "PITCHPIPE_SERVER_AUTH"
"""Variable that holds `user:password`; a server does not start without it."""

WRITES_ARTIFACTS = frozenset(
    ("/ajax-api/2.0/mlflow/upload-artifact", "/ajax-api/2.0/mlflow/runs/create-promptlab-run")
)
"""MLflow's routes that write into the folder of a run; the rest needs `--serve-artifacts`."""


def prefect_app() -> "ASGIApp":
    """Prefect's API and UI."""
    # Prefect would ask for a password of its own, and its pages know no cookie of ours.
    os.environ.pop("PREFECT_SERVER_API_AUTH_STRING", None)
    # Its pages ask where they came from, be it localhost or the end of a tunnel.
    os.environ["PREFECT_UI_API_URL"] = "/api"
    from prefect.server.api.server import create_app  # noqa: PLC0415

    from flows.runtime.guard import guarded  # noqa: PLC0415

    return guarded(create_app(), auth=os.environ[AUTH])


def mlflow_app() -> "ASGIApp":
    """MLflow's UI and API over MLFLOW_BACKEND_STORE_URI, as `mlflow server` sets it up.

    Artifacts are read where the runs say they are; none is taken in on anybody's behalf.
    """
    from mlflow.server import constants  # noqa: PLC0415

    store = os.environ["MLFLOW_BACKEND_STORE_URI"]
    os.environ[constants.BACKEND_STORE_URI_ENV_VAR] = store
    os.environ[constants.REGISTRY_STORE_URI_ENV_VAR] = store
    os.environ[constants.ARTIFACT_ROOT_ENV_VAR] = "mlruns/artifacts"
    from mlflow.server.fastapi_app import app  # noqa: PLC0415
    from mlflow.server.handlers import initialize_backend_stores  # noqa: PLC0415

    from flows.runtime.guard import guarded  # noqa: PLC0415

    initialize_backend_stores(store, store, "mlruns/artifacts")
    return guarded(app, auth=os.environ[AUTH], closed=WRITES_ARTIFACTS)
