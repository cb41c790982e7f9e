"""Webhook notifications of how a retraining ended; a webhook that fails stops nothing."""

import contextlib
import http.client
import logging
import os
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from datetime import UTC, datetime

from flows.records.retraining import Retraining
from models.config import NotifyParams, Params, Record
from models.config.policies import NotifiedEvent, Verdict
from models.trials import Scores

log = logging.getLogger(__name__)

wait = time.sleep


class Message(Record):
    """The JSON body of a notification; what does not apply is null."""

    text: str
    """One sentence; chat services show this key of an incoming webhook."""
    event: NotifiedEvent
    name: str
    """Registered name."""
    version: int | None = None
    champion: int | None = None
    """The version in service now."""
    verdict: Verdict | None = None
    reasons: tuple[str, ...] = ()
    """Reasons of the gate, or of the failure."""
    test: Scores | None = None
    mlflow_run: str | None = None
    who: str | None = None
    """user@host of a move outside a retraining; null: of a retraining."""
    time: str
    """ISO 8601, UTC."""


def outcome_message(result: Retraining) -> Message:
    """Describe the outcome of a retraining that reached a verdict."""
    promotion, name = result.promotion, result.registered_name
    assert promotion is not None
    assert name is not None
    return Message(
        text=f"{name}: version {promotion.version} {promotion.outcome}",
        event=promotion.event,
        name=name,
        version=promotion.version,
        champion=promotion.champion,
        verdict=promotion.verdict,
        reasons=promotion.reasons,
        test=result.test,
        mlflow_run=result.mlflow_run,
        time=_now(),
    )


def failure_message(error: Exception, *, name: str) -> Message:
    """Return the message of a retraining that failed."""
    reason = str(error) or type(error).__name__
    text = f"{name}: the retraining failed: {reason}"
    return Message(text=text, event="failure", name=name, reasons=(reason,), time=_now())


@contextlib.contextmanager
def notifying_failure(params: Params) -> Iterator[None]:
    """Notify of an exception raised inside and re-raise it; not of an interrupt by a person."""
    try:
        yield
    except Exception as error:
        send_notification(failure_message(error, name=params.registered_name), params.notify)
        raise


def send_notification(message: Message, params: NotifyParams) -> bool:
    """Send a message if params ask for it; return whether it arrived. Never raises or logs the URL.

    Takes at most attempts * timeout_seconds and the pauses between attempts.
    """
    if params.webhook_variable is None or message.event not in params.events:
        return False
    url = os.environ.get(params.webhook_variable, "")
    if not url.startswith(("http://", "https://")):
        log.warning(
            "no notification of %s was sent: $%s holds no http(s) URL",
            *(message.event, params.webhook_variable),
        )
        return False
    fault = ""
    for attempt in range(params.attempts):
        if attempt:
            wait(2.0 ** (attempt - 1))
        fault = _post(url, message, timeout=params.timeout_seconds)
        if not fault:
            return True
    log.warning(
        "no notification of %s was sent: the webhook in $%s: %s, %d times",
        *(message.event, params.webhook_variable, fault, params.attempts),
    )
    return False


def _post(url: str, message: Message, *, timeout: float) -> str:
    """Send once; return the error, without the URL, or an empty string."""
    try:
        request = urllib.request.Request(  # noqa: S310 - `send_notification` allows http(s) only
            url,
            data=message.model_dump_json().encode(),
            headers={"Content-Type": "application/json", "User-Agent": "pitchpipe"},
        )
        with urllib.request.urlopen(request, timeout=timeout):  # noqa: S310
            return ""
    except urllib.error.HTTPError as error:
        error.close()
        return f"it answered {error.code}"
    except urllib.error.URLError as error:
        return type(error.reason).__name__
    except (OSError, ValueError, http.client.HTTPException) as error:
        # Their messages may quote the URL.
        return type(error).__name__


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
