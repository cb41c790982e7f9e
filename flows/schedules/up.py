"""`pitchpipe up`: MLflow's UI, Prefect's server and the schedules, on loopback until Ctrl-C."""

import contextlib
import time
from collections.abc import Callable, Sequence

from flows.runtime.prefect_server import (
    SERVICES,
    RunningServices,
    prepare_environment,
    running_services,
)
from flows.runtime.servers import (
    SCHEDULES_LOG,
    Child,
    Server,
    free_port,
    mlflow_environment,
    mlflow_server,
    prefect_server,
    schedule_worker,
    schedules_environment,
    server_environment,
)
from flows.schedules.status_page import StatusPage
from flows.tracking.experiment import page_of
from flows.tracking.store import Tracking, mlflow_errors, open_tracking, tracking_uri
from models.config import Params
from models.credentials import without_credentials
from models.errors import BusyError, PitchpipeError
from models.files import write_text
from models.processes import this_process


def serve_until_interrupted(
    read_params: Callable[[], Params], *, mlflow_port: int, prefect_port: int
) -> None:
    """Start both servers and the schedules' worker, and show the status until Ctrl-C.

    read_params: which dataset and registered name the status is about; read again and again.
    All of them end with this process, however it ends.
    Raises BusyError where another `up` of this project lives;
    TrackingError where the user's MLflow is away; PitchpipeError when one of them ends.
    """
    _refuse_second()
    prepare_environment()
    # One process creates the schema, before a server with several threads opens the database.
    tracking = open_tracking(read_params().registered_name)
    with mlflow_errors():
        _ = (
            tracking.experiment_id
        )  # fails here where the tracking server is away, before any is started
    prefect = prefect_server(free_port(prefect_port))
    api = f"{prefect.url}/api"
    with contextlib.ExitStack() as stack:
        stack.callback(SERVICES.unlink, missing_ok=True)
        servers = [stack.enter_context(prefect.start(server_environment(api)))]
        mlflow_url = tracking_uri()
        if not mlflow_url.startswith("http"):  # a tracking server has its UI already
            mlflow = mlflow_server(free_port(mlflow_port))
            servers.append(stack.enter_context(mlflow.start(mlflow_environment(mlflow_url))))
            mlflow_url = mlflow.url
        for server in servers:
            server.wait_ready()
        page = StatusPage(links(prefect, mlflow_url, tracking), SCHEDULES_LOG, read_params)
        worker = stack.enter_context(schedule_worker().start(schedules_environment(api)))
        announce(prefect.url, mlflow_url)
        with page:
            _wait_for_the_end_of_one(worker, servers, page.refresh)


def _refuse_second() -> None:
    running = running_services()
    if running is not None:
        raise BusyError(
            f"`pitchpipe up` runs already: process {running.process.pid}, MLflow {running.mlflow}, "
            f"Prefect {running.prefect}; stop it first"
        )


def announce(prefect: str, mlflow: str) -> None:
    """Record the addresses of the services, for `run` to find."""
    mlflow = without_credentials(mlflow)
    services = RunningServices(process=this_process(), prefect=prefect, mlflow=mlflow)
    write_text(SERVICES, services.model_dump_json(indent=2))


def links(prefect: Server, mlflow: str, tracking: Tracking) -> dict[str, str]:
    """Pages to look at. Runs: MLflow's own first page is about traces and judges."""
    mlflow = without_credentials(mlflow)
    return {
        "MLflow": mlflow,
        "Prefect": prefect.url,
        "Runs": f"{mlflow}/{page_of(tracking.experiment_id)}",
    }


def _wait_for_the_end_of_one(
    worker: Child, servers: Sequence[Server], refresh: Callable[[], None]
) -> None:
    children = (worker, *servers)
    try:
        while all(child.alive for child in children):
            refresh()
            time.sleep(0.5)  # until Ctrl-C; no single event covers all that is shown
    finally:
        ended = [child for child in children if not child.alive]
        # Flow runs first: they report their end to the servers.
        worker.stop()
        for server in servers:
            server.ask_to_end()
    raise PitchpipeError(f"{ended[0].title} ended; see {ended[0].log}")
