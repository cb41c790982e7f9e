"""Which errors of MLflow are somebody's absence, which time may heal, and which are not."""

import sqlite3

from mlflow.exceptions import MlflowException
from mlflow.protos.databricks_pb2 import (
    INTERNAL_ERROR,
    REQUEST_LIMIT_EXCEEDED,
    TEMPORARILY_UNAVAILABLE,
    ErrorCode,
)
from sqlalchemy.exc import InterfaceError, OperationalError, SQLAlchemyError

_OUTAGE = {
    ErrorCode.Name(code)
    for code in (INTERNAL_ERROR, REQUEST_LIMIT_EXCEEDED, TEMPORARILY_UNAVAILABLE)
}


def is_outage(error: MlflowException | OSError) -> bool:
    """Whether MLflow may be down; it also says so of some requests that it does not like."""
    return isinstance(error, OSError) or error.error_code in _OUTAGE


def is_absence(error: MlflowException | SQLAlchemyError | sqlite3.Error, *, of_file: bool) -> bool:
    """Whether a store that is asked again later may answer; of_file: it is a SQLite file.

    A file that is there does better only when somebody else lets go of it. MLflow calls all that
    is wrong with one an outage, damage too.
    """
    if of_file:
        return "is locked" in str(error)
    if isinstance(error, MlflowException):
        return is_outage(error)
    return isinstance(error, OperationalError | InterfaceError)
