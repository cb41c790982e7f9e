"""Environment variables: the defaults that pitchpipe sets, and addresses checked before use."""

import os
import re
from urllib.parse import urlsplit

from models.credentials import without_credentials
from models.errors import ConfigError

SAFE_DEFAULTS = {
    "DO_NOT_TRACK": "true",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_MODEL_CATALOG_URI": "",
    "MLFLOW_ALLOW_PICKLE_DESERIALIZATION": "false",
    "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
    "DVC_NO_ANALYTICS": "1",
}
"""No telemetry by default, and no pickle; each can be set otherwise by the user."""


def check_address(variable: str) -> None:
    """See that an environment variable, where it says anything, holds the address of a server.

    Nobody is asked. Raises ConfigError where nobody could be.
    """
    url = os.environ.get(variable, "")
    if url and not is_address(url):
        raise ConfigError(
            f"{variable} {without_credentials(url)!r}: not an address such as "
            f"http://127.0.0.1:4200; set it to one, or unset {variable}"
        )


def is_address(url: str) -> bool:
    """Whether a text is an address that can be asked by HTTP."""
    try:
        parts = urlsplit(url)
        _ = parts.port  # a ValueError where it is no number
    except ValueError:
        return False
    whole = not re.search(r"[\s\x00-\x1f\x7f]", url)  # urlsplit passes over some of them
    return whole and parts.scheme in ("http", "https") and bool(parts.hostname)
