"""The tracking store: opened once, in write-ahead mode, with artifacts that can be moved."""

import contextlib
import logging
import os
import sqlite3
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import mlflow
from mlflow.exceptions import MlflowException
from mlflow.protos.databricks_pb2 import (
    INTERNAL_ERROR,
    REQUEST_LIMIT_EXCEEDED,
    TEMPORARILY_UNAVAILABLE,
    ErrorCode,
)
from mlflow.store.db.db_types import DATABASE_ENGINES
from mlflow.store.entities.paged_list import PagedList
from mlflow.tracking import MlflowClient
from sqlalchemy.exc import InterfaceError, OperationalError

from flows.records.champion import MLFLOW_DATABASE
from flows.runtime.environment import check_address
from flows.tracking.database import create_schema, database_lock, database_of, is_inside
from flows.tracking.experiment import experiment_tags, is_outdated
from flows.tracking.refusals import raised_by_stores, refusal_of
from models.credentials import without_credentials
from models.errors import ConfigError, PitchpipeError, UnreachableError

_OUTAGE = {
    ErrorCode.Name(code)
    for code in (INTERNAL_ERROR, REQUEST_LIMIT_EXCEEDED, TEMPORARILY_UNAVAILABLE)
}


def is_outage(error: MlflowException | OSError) -> bool:
    """Whether MLflow may be down; it raises the same for some requests that it refuses."""
    return isinstance(error, OSError) or error.error_code in _OUTAGE


def _may_recover(error: Exception, *, of_file: bool) -> bool:
    """Whether a retry may succeed; of_file: the store is a SQLite file.

    An existing file helps only by waiting where another process has locked it. MLflow reports
    every fault of a file as an outage, damage too.
    """
    if of_file:
        return "is locked" in str(error)
    if isinstance(error, MlflowException):
        return is_outage(error)
    return isinstance(error, OperationalError | InterfaceError | OSError)


if TYPE_CHECKING:
    from mlflow.entities import Experiment

log = logging.getLogger(__name__)
T = TypeVar("T")

LOCAL_URI = f"sqlite:///{MLFLOW_DATABASE}"
ARTIFACTS = Path("mlruns/artifacts")
PATIENCE_SECONDS = 5.0


class TrackingError(PitchpipeError):
    """MLflow is not reached, or refuses."""


class TrackingRefusedError(ConfigError, TrackingError):
    """MLflow, its database or its store of artifacts is there, and does not let us in."""


class TrackingOutageError(TrackingError, UnreachableError):
    """MLflow is not reached now; later it may be."""


def tracking_uri() -> str:
    """MLFLOW_TRACKING_URI, else the database inside the project (the working directory)."""
    return os.environ.get("MLFLOW_TRACKING_URI") or LOCAL_URI


@dataclass(frozen=True)
class Tracking:
    """A tracking store and the experiment of one registered name."""

    uri: str
    """As MLflow takes it; a SQLite path in it is absolute."""
    name: str
    """Of the experiment, and of the registered versions."""

    @cached_property
    def client(self) -> MlflowClient:
        """A client of this store. MLflow's fluent API is not used: runs are named by their ids."""
        return MlflowClient(self.uri)

    @cached_property
    def experiment_id(self) -> str:
        """Id of the experiment, created where it is missing.

        Raises MlflowException while a tracking server cannot be reached.
        """
        database = database_of(self.uri)
        with database_lock(database) if database else contextlib.nullcontext():
            return _find_or_create(self.client, self.name, inside=is_inside(database))


def open_tracking(name: str) -> Tracking:
    """Open the store for one registered name; a SQLite schema is created once, under a lock.

    A tracking server is not contacted before it is needed: one that is down stops no training.
    Raises ConfigError where MLFLOW_TRACKING_URI is no store of MLflow, TrackingError where the
    database cannot be opened.
    """
    uri = tracking_uri()
    _refuse_unknown(uri)
    database = database_of(uri)
    quiet_mlflow()
    if database is not None:
        uri = f"sqlite:///{database}"
    else:
        # Seven retries with back-off take four minutes; the mirror has its own retries.
        os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "2")
        os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", "30")
        # MLflow's client prints the address at the end of each run, the password in it included.
        os.environ["MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT"] = "true"
    # SqlAlchemyStore.create_model_version resolves `models:/` sources through the global URI,
    # whatever the client was given (mlflow 3.17.2, store/model_registry/sqlalchemy_store.py).
    mlflow.set_tracking_uri(uri)
    tracking = Tracking(uri=uri, name=name)
    if database is not None:
        with mlflow_errors():
            create_schema(database, uri)
            _ = tracking.experiment_id
    return tracking


def all_pages(fetch: Callable[[str | None], PagedList[T]]) -> Iterator[T]:
    """Every item of a paged search of MLflow; fetch: a page by its token, None for the first."""
    page = fetch(None)
    yield from page
    while page.token:
        page = fetch(page.token)
        yield from page


@contextlib.contextmanager
def mlflow_errors() -> Iterator[None]:
    """Turn what MLflow raises into a TrackingError that names the store.

    A TrackingOutageError only where a retry may succeed: not for a damaged file. A server that does
    not answer is named after PATIENCE_SECONDS.
    """
    waited_for = threading.Timer(
        PATIENCE_SECONDS, _say_who_is_waited_for, [mlflow.get_tracking_uri()]
    )
    waited_for.daemon = True
    waited_for.start()
    try:
        yield
    except raised_by_stores() as error:
        # SQLAlchemy's messages go on with the statement; the first line says what is wrong.
        uri = mlflow.get_tracking_uri()
        refused = refusal_of(error, at=uri)
        if refused is not None:
            raise TrackingRefusedError(refused) from error
        said = f"MLflow at {uri}: {str(error).strip().splitlines()[0]}"
        outage = _may_recover(error, of_file=uri.startswith("sqlite"))
        kind = TrackingOutageError if outage else TrackingError
        way_out = _way_out(database_of(uri), locked=outage)
        raise kind(f"{without_credentials(said)}; {way_out}") from error
    finally:
        waited_for.cancel()


@cache
def _say_who_is_waited_for(uri: str) -> None:
    """Say it once: with what is set by default a server that never answers takes 97 s."""
    if uri.startswith("http"):
        if not log.handlers:  # Prefect, where it runs, shows nothing of others that is not critical
            log.addHandler(logging.StreamHandler())
        log.warning(
            "waiting for MLflow at %s: each request has %s s (MLFLOW_HTTP_REQUEST_TIMEOUT) and is "
            "sent %s times more (MLFLOW_HTTP_REQUEST_MAX_RETRIES)",
            without_credentials(uri),
            os.environ.get("MLFLOW_HTTP_REQUEST_TIMEOUT", "120"),
            os.environ.get("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "7"),
        )


def quiet_mlflow() -> None:
    """Keep from standard error what MLflow says there of itself.

    Errors of the database are raised too, and said by us; MLflow logs them with a traceback.
    """
    # A progress bar for eight small files, in the middle of other output.
    os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")
    logging.getLogger("mlflow.store.db.utils").setLevel(logging.CRITICAL)
    logging.getLogger("alembic").setLevel(logging.WARNING)
    # Says of each version made on a server that it waits for it, which it does not.
    logging.getLogger("mlflow.store.model_registry.abstract_store").setLevel(logging.WARNING)


def _refuse_unknown(uri: str) -> None:
    """Raise ConfigError for a URI that is no store, before anything is begun; nothing is opened."""
    scheme = uri.partition(":")[0]
    if scheme.partition("+")[0] in DATABASE_ENGINES:
        return
    if scheme in ("http", "https"):
        check_address("MLFLOW_TRACKING_URI")
        return
    try:
        MlflowClient(uri)  # also of plug-ins and of Databricks
    except MlflowException as error:
        if not is_outage(error):
            raise ConfigError(
                f"MLFLOW_TRACKING_URI {without_credentials(uri)}: MLflow keeps no runs there; name "
                "a server (http://...) or a database (sqlite:///...), or unset it"
            ) from None


def _way_out(database: Path | None, *, locked: bool) -> str:
    if database is None:
        return "see that it runs and that MLFLOW_TRACKING_URI names it"
    if locked:
        return "another program writes to it; end that, or try again when it is done"
    return (
        f"look at the disk and at who may write to {database}; where the file is damaged, put a "
        "copy of it back, or move it away, and `pitchpipe sync` shows the retrainings in a new one"
    )


def _find_or_create(client: MlflowClient, name: str, *, inside: bool) -> str:
    experiment = client.get_experiment_by_name(name)
    if experiment is None:
        location = f"mlruns/artifacts/{name}" if inside else None
        client.create_experiment(name, artifact_location=location)
        experiment = client.get_experiment_by_name(name)
        assert experiment is not None
    elif experiment.lifecycle_stage == "deleted":
        log.warning("experiment %s had been deleted in MLflow; it is restored", name)
        client.restore_experiment(experiment.experiment_id)
    if inside:
        _make_relative(client, experiment)
    _complete_page(client, experiment)
    return str(experiment.experiment_id)


def _complete_page(client: MlflowClient, experiment: "Experiment") -> None:
    """Set tags of the experiment's page that are missing or outdated; a user's own stay."""
    tags = experiment_tags(experiment.name, experiment.experiment_id)
    for name, value in tags.items():
        if name not in experiment.tags or is_outdated(experiment.tags[name], value):
            client.set_experiment_tag(experiment.experiment_id, name, value)


def _make_relative(client: MlflowClient, experiment: "Experiment") -> None:
    """Store artifacts by a path relative to the project.

    MLflow makes a local path absolute when an experiment is created, and copies it into each run
    and version; a relative one in this column is copied unchanged, so that the whole folder can be
    moved (mlflow #3144).
    """
    location = f"{ARTIFACTS}/{experiment.name}"
    if experiment.artifact_location == location:
        return
    database = database_of(client.tracking_uri)
    assert database is not None
    with contextlib.closing(sqlite3.connect(database, timeout=60)) as connection, connection:
        connection.execute(
            "UPDATE experiments SET artifact_location = ? WHERE experiment_id = ?",
            (location, int(experiment.experiment_id)),
        )
