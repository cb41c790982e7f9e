"""`pitchpipe up`: MLflow's UI, Prefect's server and the schedules, on loopback until Ctrl-C.

Servers that the user named (MLFLOW_TRACKING_URI, PREFECT_API_URL) are not started: beside those of
a team only the worker is.
"""

import contextlib
import sys
import time
from collections.abc import Callable, Sequence

from flows.runtime.prefect_server import (
    SERVICES,
    RunningServices,
    ask_users_server,
    prefect_address,
    prepare_environment,
    running_services,
    users_prefect,
)
from flows.runtime.servers import (
    SCHEDULES_LOG,
    Child,
    Server,
    free_port,
    mlflow_environment,
    mlflow_server,
    new_password,
    prefect_server,
    schedule_worker,
    schedules_environment,
    server_environment,
)
from flows.schedules.status_page import Link, StatusPage
from flows.tracking.experiment import page_of
from flows.tracking.store import Tracking, mlflow_errors, open_tracking, tracking_uri
from models.config import Params
from models.credentials import without_credentials
from models.errors import BusyError, PitchpipeError
from models.files import replacing
from models.processes import this_process


def serve_until_interrupted(
    read_params: Callable[[], Params], *, mlflow_port: int, prefect_port: int
) -> None:
    """Start the servers that nobody named and the schedules' worker; show the status until Ctrl-C.

    read_params: which dataset and registered name the status is about; read again and again.
    All of them end with this process, however it ends.
    Raises BusyError where another `up` of this project lives;
    TrackingError where the user's MLflow is away, PitchpipeError where their Prefect is, and when
    one of ours ends.
    """
    _refuse_second()
    prepare_environment()
    # One process creates the schema, before a server with several threads opens the database.
    tracking = open_tracking(read_params().registered_name)
    with mlflow_errors():
        # Fails here where the tracking server is away, before any server is started.
        _ = tracking.experiment_id
    password = new_password()
    with contextlib.ExitStack() as stack:
        stack.callback(SERVICES.unlink, missing_ok=True)
        own = _start_prefect(stack, password, prefect_port)
        servers = [] if own is None else [own]
        mlflow_url = tracking_uri()
        if not _has_ui(mlflow_url):
            mlflow = mlflow_server(_port_for("the MLflow UI", mlflow_port))
            environment = mlflow_environment(mlflow_url, password)
            servers.append(stack.enter_context(mlflow.start(environment)))
            mlflow_url = mlflow.url
        for server in servers:
            server.wait_ready()
        access = server_environment(f"{own.url}/api", password) if own else {}
        worker = stack.enter_context(schedule_worker().start(schedules_environment(access)))
        address = own.url if own else prefect_address()
        services = announce(address, mlflow_url, password, own_prefect=own is not None)
        with StatusPage(links(services, tracking), SCHEDULES_LOG, read_params) as page:
            _wait_for_the_end_of_one(worker, servers, page.refresh)


def _start_prefect(stack: contextlib.ExitStack, password: str, port: int) -> Server | None:
    """Start Prefect's server; None, once it was asked whether it serves us, for the user's."""
    if users_prefect() is not None:
        ask_users_server()
        return None
    server = prefect_server(_port_for("the Prefect server", port))
    return stack.enter_context(server.start(server_environment(f"{server.url}/api", password)))


def _port_for(title: str, preferred: int) -> int:
    """Return the preferred port if it is free, else another, and say so."""
    port = free_port(preferred)
    if port != preferred:
        sys.stderr.write(
            f"pitchpipe: port {preferred} is taken by another program; {title} takes {port}\n"
        )
    return port


def _refuse_second() -> None:
    running = running_services()
    if running is not None:
        raise BusyError(
            f"`pitchpipe up` runs already: process {running.process.pid}, MLflow {running.mlflow}, "
            f"Prefect {running.prefect}; stop it first"
        )


def announce(
    prefect: str, mlflow: str, password: str, *, own_prefect: bool = True
) -> RunningServices:
    """Write down where the services are and their password, for `run` of the same user to find."""
    services = RunningServices(
        process=this_process(),
        prefect=prefect,
        mlflow=without_credentials(mlflow),
        password=password,
        own_prefect=own_prefect,
    )
    with replacing(SERVICES) as temporary:
        temporary.touch(mode=0o600)  # before anything is in it
        temporary.write_text(services.model_dump_json(indent=2), encoding="utf-8")
    return services


def links(services: RunningServices, tracking: Tracking) -> tuple[Link, ...]:
    """Where to look. Runs: MLflow's own first page speaks of traces and judges."""
    experiment = tracking.experiment_id
    # The user's own tracking server is told no password of ours, and asked no question.
    ours = not _has_ui(tracking.uri)
    password = services.password if ours else None
    is_empty = ours and not tracking.client.search_runs([experiment], max_results=1)
    note = "empty until the first `pitchpipe run`" if is_empty else ""
    return (
        Link("MLflow", services.mlflow, password=password),
        Link("Prefect", services.prefect, password=services.prefect_password),
        Link("Runs", services.mlflow, page=page_of(experiment), password=password, note=note),
    )


def _has_ui(tracking_uri: str) -> bool:
    """Whether a store is a tracking server, which has its UI already."""
    return tracking_uri.startswith("http")


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
