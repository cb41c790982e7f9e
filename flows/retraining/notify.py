"""Notifications of how a retraining ended; a receiver that fails or hangs stops nothing."""

import contextlib
import http.client
import logging
import os
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from functools import partial
from queue import Empty, Queue

from flows.records.retraining import Retraining
from flows.retraining.notify_apprise import THREAD, Message, Receiver, apprise_receivers
from models.config import NotifyParams, Params

log = logging.getLogger(__name__)

wait = time.sleep


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
    """Send a message to whom params name; return whether it arrived everywhere.

    Never raises or logs an address. All receivers are told at once, and waited for as long as
    `params.seconds` says: attempts * timeout_seconds, and the pauses between attempts.
    """
    if message.event not in params.events:
        return False
    receivers = [*_webhook(message, params), *apprise_receivers(message, params)]
    waiting = [(one, _started(one, params)) for one in receivers]
    deadline = time.monotonic() + params.seconds
    arrived = bool(receivers)
    for receiver, faults in waiting:
        fault = _fault(faults, deadline, params)
        if fault:
            arrived = False
            log.warning(
                "no notification of %s was sent: %s: %s", message.event, *(receiver.called, fault)
            )
    return arrived


def _webhook(message: Message, params: NotifyParams) -> Iterator[Receiver]:
    variable = params.webhook_variable
    if variable is None:
        return
    url = os.environ.get(variable, "")
    send: Callable[[], str] | None
    if url.startswith(("http://", "https://")):
        send = partial(_post, url, message, timeout=params.timeout_seconds)
    else:
        send = None
    yield Receiver(f"the webhook in ${variable}", send, "it holds no http(s) URL")


def _started(receiver: Receiver, params: NotifyParams) -> "Queue[str]":
    """Begin to send; the queue is given the fault, an empty one where it arrived."""
    faults: Queue[str] = Queue()
    # A daemon: what hangs must hold up nobody's exit.
    threading.Thread(
        target=lambda: faults.put(_attempts(receiver, params)), name=THREAD, daemon=True
    ).start()
    return faults


def _attempts(receiver: Receiver, params: NotifyParams) -> str:
    fault = receiver.fault
    if receiver.send is None:
        return fault
    for attempt in range(params.attempts):
        if attempt:
            wait(2.0 ** (attempt - 1))
        try:
            fault = receiver.send()
        except Exception as error:  # noqa: BLE001 - of a library's plugin: anything
            fault = type(error).__name__  # its message may quote the address
        if not fault:
            return ""
    return f"{fault}, {params.attempts} times"


def _fault(faults: "Queue[str]", deadline: float, params: NotifyParams) -> str:
    try:
        return faults.get(timeout=max(deadline - time.monotonic(), 0.001))
    except Empty:
        return f"it did not answer within {params.seconds:g} s"


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
