"""The Prefect server of a retraining: the user's, that of `pitchpipe up`, or a temporary one."""

import contextlib
import os
import threading
import time
from collections.abc import Callable, Iterator
from http import HTTPStatus
from pathlib import Path
from uuid import UUID

from pydantic import Field

from flows.runtime.environment import environment_variables
from flows.runtime.servers import (
    PREFECT_HOME,
    answers,
    free_port,
    new_password,
    prefect_server,
    server_environment,
)
from models.config import Record, read_record
from models.credentials import without_credentials
from models.errors import ConfigError, PitchpipeError
from models.processes import ProcessIdentity

SERVICES = PREFECT_HOME / "services.json"
UP_PREFECT, UP_MLFLOW = "http://127.0.0.1:4200", "http://127.0.0.1:5000"
"""Addresses of `pitchpipe up`, unless the ports are taken."""
_PATIENCE_SECONDS = 20.0
"""For each answer to the questions whether the user's server serves us."""


class RunningServices(Record):
    """Addresses at which `pitchpipe up` serves, as it recorded them."""

    process: ProcessIdentity
    prefect: str
    """Base address of the Prefect server."""
    mlflow: str
    """Address of the MLflow UI."""
    password: str | None = Field(None, repr=False)
    """Of both servers; null in what an older release wrote, whose servers ask for none."""
    own_prefect: bool = True
    """False: the Prefect server is the user's, and is known to whoever sets PREFECT_API_URL."""

    @property
    def prefect_password(self) -> str | None:
        """For the Prefect server; null: it is the user's, who is told no password of ours."""
        return self.password if self.own_prefect else None


def running_services(path: Path = SERVICES) -> RunningServices | None:
    """Return the services of a living `pitchpipe up`; None where there is none."""
    services = read_record(path, RunningServices)
    return services if services is not None and services.process.alive else None


def prefect_address() -> str:
    """Return the address of the user's Prefect server, else that of `up`, to view flow runs at."""
    api = os.environ.get("PREFECT_API_URL")
    if api and api != os.environ.get("PREFECT_UI_API_URL"):  # which marks a server of ours
        return without_credentials(api.removesuffix("/").removesuffix("/api"))
    services = running_services()
    return services.prefect if services else UP_PREFECT


def mlflow_address() -> str:
    """Return the address of the user's tracking server, else that of `up`'s UI, to view runs at."""
    uri = os.environ.get("MLFLOW_TRACKING_URI", "")
    if uri.startswith("http"):
        return without_credentials(uri.removesuffix("/"))
    services = running_services()
    return services.mlflow if services else UP_MLFLOW


def prepare_environment() -> None:
    """Keep Prefect's files in the project and its log off the console; before `import prefect`."""
    PREFECT_HOME.mkdir(exist_ok=True)
    os.environ.setdefault("PREFECT_HOME", str(PREFECT_HOME.resolve()))
    # pitchpipe shows progress and errors itself; Prefect's own lines are in its UI.
    os.environ.setdefault("PREFECT_LOGGING_HANDLERS_CONSOLE_LEVEL", "CRITICAL")
    os.environ.setdefault("PREFECT_LOGGING_TO_API_WHEN_MISSING_FLOW", "ignore")


@contextlib.contextmanager
def prefect_api() -> Iterator[Callable[[], None]]:
    """Provide a Prefect server while inside; yields a function that waits until it is ready.

    PREFECT_API_URL if set; else the server of a living `pitchpipe up`; else one of our own, which
    starts while the caller does other things and ends with us. PREFECT_API_URL may name that of
    `up`: its password is known here.
    """
    prepare_environment()
    services = running_services()
    if "PREFECT_API_URL" in os.environ and not _names_up(services):
        yield ask_users_server
    elif services and services.own_prefect and answers(f"{services.prefect}/api/health"):
        # What asks for no password passes over one.
        password = services.password or new_password()
        environment = server_environment(f"{services.prefect}/api", password)
        with environment_variables(environment), _fallback_for(services, environment):
            yield lambda: None
    else:
        server = prefect_server(free_port(0))
        environment = server_environment(f"{server.url}/api", new_password())
        with environment_variables(environment), server.start(environment):
            yield server.wait_ready


@contextlib.contextmanager
def _fallback_for(services: RunningServices, environment: dict[str, str]) -> Iterator[None]:
    """Serve at the address of `up`, while inside, if `up` ends: the flow run needs a server.

    Prefect's client retries for some 30 s when its server is gone; ours starts in ten.
    """
    server = prefect_server(int(services.prefect.rpartition(":")[2]))
    left = threading.Event()

    def replace() -> None:
        while services.process.alive:
            if left.wait(0.5):  # not our child: there is no event to wait for
                return
        while answers(f"{services.prefect}/api/health"):
            if left.wait(0.1):
                return
        server.start(environment)

    watch = threading.Thread(target=replace, name="fallback", daemon=True)
    watch.start()
    try:
        yield
    finally:
        left.set()
        watch.join()
        server.stop()


def _names_up(services: RunningServices | None) -> bool:
    """Whether PREFECT_API_URL is the address of our `up`, with nothing said of how to sign in."""
    url = os.environ.get("PREFECT_API_URL", "").removesuffix("/")
    signs_in = "PREFECT_API_AUTH_STRING" in os.environ
    return services is not None and url == f"{services.prefect}/api" and not signs_in


def users_prefect() -> str | None:
    """Return the address of the API that the user named; None: nobody named a Prefect server."""
    return os.environ.get("PREFECT_API_URL", "").removesuffix("/") or None


def ask_users_server() -> None:
    """See that the server that the user named serves us.

    Raises PitchpipeError where it does not answer as Prefect does, ConfigError where it asks for
    another password.
    """
    from prefect.client.orchestration import get_client  # noqa: PLC0415 - costs 2 s
    from prefect.exceptions import PrefectHTTPStatusError  # noqa: PLC0415
    from prefect.settings import PREFECT_CLIENT_MAX_RETRIES, temporary_settings  # noqa: PLC0415

    named = f"PREFECT_API_URL {without_credentials(os.environ['PREFECT_API_URL'])}"
    once = temporary_settings({PREFECT_CLIENT_MAX_RETRIES: 0})  # six times in silence else
    patience = {"timeout": _PATIENCE_SECONDS}
    with once, get_client(httpx_settings=patience, sync_client=True) as client:
        error = client.api_healthcheck()
        if error is not None:
            raise PitchpipeError(
                f"{named}: no answer ({without_credentials(str(error))}); start that "
                "server, or unset the variable to let pitchpipe start one"
            )
        try:
            client.api_version()  # unlike its health, for those alone who sign in
        except PrefectHTTPStatusError as refusal:
            if refusal.response.status_code != HTTPStatus.UNAUTHORIZED:
                raise
            raise ConfigError(
                f"{named}: asks for a password; set PREFECT_API_AUTH_STRING to USER:PASSWORD"
            ) from None
        except ValueError:  # no JSON, such as a page of the UI
            raise PitchpipeError(
                f"{named}: answers, but not as Prefect's API, whose address ends in /api; name "
                "that, or unset the variable to let pitchpipe start a server"
            ) from None


def wait_until_recorded(flow_run: UUID, *, seconds: float = 20) -> bool:
    """Wait until the server has recorded the end of every task run of a flow run.

    States are recorded asynchronously; a server stopped before that would show tasks as running for
    ever. Returns whether all are recorded.
    """
    from prefect.client.orchestration import get_client  # noqa: PLC0415 - costs 2 s
    from prefect.client.schemas.filters import (  # noqa: PLC0415
        FlowRunFilter,
        FlowRunFilterId,
    )

    mine = FlowRunFilter(id=FlowRunFilterId(any_=[flow_run]))
    deadline = time.monotonic() + seconds
    with get_client(sync_client=True) as client:
        while time.monotonic() < deadline:
            runs = client.read_task_runs(flow_run_filter=mine)
            ended = [run for run in runs if run.state is not None and run.state.is_final()]
            if len(ended) == len(runs):
                return True
            time.sleep(0.1)  # the server sends no event for it
    return False
