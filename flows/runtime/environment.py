"""Environment variables with their defaults and checks, and the project's identity."""

import contextlib
import os
import re
import uuid
from collections.abc import Iterator, Mapping
from pathlib import Path
from urllib.parse import urlsplit

from models.credentials import without_credentials
from models.errors import ConfigError, IntegrityError
from models.files import write_text

IDENTITY = Path(".prefect/project.id")

SAFE_DEFAULTS = {
    "DO_NOT_TRACK": "true",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_MODEL_CATALOG_URI": "",
    "MLFLOW_ALLOW_PICKLE_DESERIALIZATION": "false",
    "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
    "DVC_NO_ANALYTICS": "1",
}
"""No telemetry and no unpickling; the user's own values are kept."""


def set_safe_defaults() -> None:
    """Set what the user has not set, for good: libraries send later, too."""
    for name, value in SAFE_DEFAULTS.items():
        os.environ.setdefault(name, value)


@contextlib.contextmanager
def environment_variables(changes: Mapping[str, str]) -> Iterator[None]:
    """Set environment variables of this process, and restore the earlier values on exit."""
    with restored(*changes):
        os.environ.update(changes)
        yield


@contextlib.contextmanager
def restored(*names: str) -> Iterator[None]:
    """Give environment variables the values on exit that they have now, whoever changes them."""
    before = {name: os.environ.get(name) for name in names}
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


def project_identity() -> str:
    """Return the identity of this project folder, 32 hex digits; made when first asked for.

    Raises IntegrityError where its file is damaged.
    """
    if not IDENTITY.exists():
        write_text(IDENTITY, uuid.uuid4().hex)
    identity = IDENTITY.read_bytes().decode(errors="replace")
    if not re.fullmatch(r"[0-9a-f]{32}", identity):
        raise IntegrityError(
            f"{IDENTITY}: is damaged, it does not hold 32 hex digits; bring it back from a copy, "
            "or delete it: flow runs of before are then no longer known as this project's"
        )
    return identity


def check_address(variable: str) -> None:
    """Raise ConfigError where an environment variable is set and is not the URL of a server.

    The server is not contacted.
    """
    url = os.environ.get(variable, "")
    if url and not is_address(url):
        raise ConfigError(
            f"{variable} {without_credentials(url)!r}: not an address such as "
            f"http://127.0.0.1:4200; set it to one, or unset {variable}"
        )


def is_address(url: str) -> bool:
    """Whether a text is an http or https URL with a host."""
    try:
        parts = urlsplit(url)
        _ = parts.port  # raises ValueError where it is no number
    except ValueError:
        return False
    whole = not re.search(r"[\s\x00-\x1f\x7f]", url)  # urlsplit ignores some of them
    return whole and parts.scheme in ("http", "https") and bool(parts.hostname)
