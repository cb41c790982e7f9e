"""`pitchpipe up`: the MLflow UI and the Prefect server on loopback until Ctrl-C."""

import contextlib
import time
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console

from flows.prefect_api import (
    SERVICES,
    RunningServices,
    prepare_environment,
    running_services,
)
from flows.services import (
    Server,
    free_port,
    mlflow_environment,
    mlflow_server,
    prefect_server,
    server_environment,
)
from flows.tracking.experiment import page_of
from flows.tracking.store import open_tracking, tracking_uri
from models.config import load_params
from models.credentials import without_credentials
from models.errors import BusyError, PitchpipeError
from models.files import write_text
from models.processes import this_process


def serve_until_interrupted(*, mlflow_port: int, prefect_port: int) -> None:
    """Start both servers, print their links, and wait; both end with us, however we end.

    Raises BusyError where another `up` of this project lives; PitchpipeError when a server ends.
    """
    running = running_services()
    if running is not None:
        raise BusyError(
            f"`pitchpipe up` runs already: process {running.process.pid}, MLflow {running.mlflow}, "
            f"Prefect {running.prefect}; stop it first"
        )
    prepare_environment()
    # The schema is made by one process, before a server with several threads opens it.
    tracking = open_tracking(load_params(Path("params.yaml")).registered_name)
    prefect = prefect_server(free_port(prefect_port))
    with contextlib.ExitStack() as stack:
        stack.callback(SERVICES.unlink, missing_ok=True)
        servers = [stack.enter_context(prefect.start(server_environment(f"{prefect.url}/api")))]
        mlflow_url = tracking_uri()
        if not mlflow_url.startswith("http"):  # a tracking server has its UI already
            mlflow = mlflow_server(free_port(mlflow_port))
            servers.append(stack.enter_context(mlflow.start(mlflow_environment(mlflow_url))))
            mlflow_url = mlflow.url
        for server in servers:
            server.wait_ready()
        announce(prefect.url, mlflow_url)
        _point_to_runs(f"{without_credentials(mlflow_url)}/{page_of(tracking.experiment_id)}")
        _wait_for_the_end_of_one(servers)


def announce(prefect: str, mlflow: str) -> None:
    """Write down where the services are, for `run` to find, and print their links."""
    mlflow = without_credentials(mlflow)
    services = RunningServices(process=this_process(), prefect=prefect, mlflow=mlflow)
    write_text(SERVICES, services.model_dump_json(indent=2))
    Console().print(f"MLflow   {mlflow}\nPrefect  {prefect}")


def _point_to_runs(page: str) -> None:
    """Print where retrainings are: MLflow's own first page speaks of traces and judges."""
    # A link that is cut in two cannot be clicked.
    Console().print(f"Runs     {page}\nCtrl-C stops both.", soft_wrap=True)


def _wait_for_the_end_of_one(servers: Sequence[Server]) -> None:
    try:
        while all(server.alive for server in servers):
            time.sleep(0.2)  # until Ctrl-C; there is no one event for the end of either process
    finally:
        ended = [server for server in servers if not server.alive]
        for server in servers:
            server.ask_to_end()
    raise PitchpipeError(f"{ended[0].title} ended; see {ended[0].log}")
