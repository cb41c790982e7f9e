"""What MLflow, its database and its store of artifacts raise, and which of it time does not mend.

Packages that only a team's servers need are not imported: what they raise is known where they are.
"""

import sqlite3

import requests
from mlflow.exceptions import MlflowException
from sqlalchemy.exc import SQLAlchemyError

from flows.runtime.object_store import raised_by_s3, store_refusal
from models.credentials import without_credentials

_SIGN_IN = "set MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD to an account of it"
_NOT_ALLOWED = (
    "that account may not do this; ask an administrator of the server, or name another in "
    "MLFLOW_TRACKING_USERNAME"
)
_EXTRAS = ("boto3", "botocore", "psycopg2", "pymysql", "azure", "google")


def raised_by_stores() -> tuple[type[Exception], ...]:
    """Return the errors of whatever stands behind a tracking address."""
    ours = (MlflowException, SQLAlchemyError, sqlite3.Error, requests.RequestException)
    return (*ours, ModuleNotFoundError, *raised_by_s3())


def refusal_of(error: Exception, *, at: str) -> str | None:
    """Say, with the way out, why a store does not let us in; None where it does not say so.

    at: the tracking address, of which a password is not shown. Raises the error itself where it is
    about a module that has nothing to do with a store.
    """
    if isinstance(error, ModuleNotFoundError):
        return _missing_extra(error)
    server = without_credentials(f"MLflow at {at}")
    match _status_of(error):
        case 401:
            return f"{server} asks who you are and did not believe it; {_SIGN_IN}"
        case 403:
            return f"{server} refuses: {_NOT_ALLOWED}"
    said = " ".join(str(error).split())
    if "password authentication failed" in said or "no password supplied" in said:
        return f"{server}: the database takes the password for wrong; MLFLOW_TRACKING_URI holds it"
    if isinstance(error, SQLAlchemyError) and "does not exist" in said and "database" in said:
        return f"{server}: there is no such database; make it with `createdb`"
    way_out = store_refusal(error)
    return None if way_out is None else f"artifacts of {server}: {way_out}"


def _status_of(error: Exception) -> int | None:
    if isinstance(error, MlflowException):
        # mlflow 3.17.2 does not type it
        return int(error.get_http_status_code())  # type: ignore[no-untyped-call]
    response = getattr(error, "response", None)
    return response.status_code if isinstance(response, requests.Response) else None


def _missing_extra(error: ModuleNotFoundError) -> str:
    if (error.name or "").partition(".")[0] not in _EXTRAS:
        raise error
    return (
        f"{error.name} is not installed, which this store needs; `make install EXTRAS=team` in the "
        "checkout of pitchpipe adds it"
    )
