"""Mail, Slack, Teams, Discord and others by Apprise, an extra; addresses hold secrets.

They are read from the environment, or from a file that it names, when they are sent to: they are in
no params, and in no message, log or error.
"""

import importlib.util
import logging
import os
import stat
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from string import Template

from models.config import NotifyParams, Record
from models.config.policies import MESSAGE_FIELDS, NotifiedEvent, Verdict
from models.errors import ConfigError, MissingExtraError
from models.trials import Scores

log = logging.getLogger(__name__)

THREAD = "notification"
"""Name of the threads that send."""
_TYPES: dict[NotifiedEvent, str] = {
    "promote": "success",
    "restore": "success",
    "failure": "failure",
    "reject": "warning",
    "foreign": "warning",
}
"""Apprise's kinds, which choose a colour or a picture; of other events `info`."""
_LOUD = ("urllib3.connectionpool", "urllib3.connection", "urllib3.util.retry")
"""Loggers that say where a request goes."""


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


@dataclass(frozen=True, slots=True)
class Receiver:
    """Somebody who is notified."""

    called: str
    """In logs, without the address."""
    send: Callable[[], str] | None
    """Send once; return what was wrong, without the address, or an empty string."""
    fault: str = ""
    """Why nothing can be sent, where `send` is None."""


def check_notify(params: NotifyParams) -> None:
    """Raise, before anything is begun, where Apprise is asked for and cannot be used.

    MissingExtraError without it; ConfigError where the file of addresses can be read by others.
    """
    if params.addresses_variable is None:
        return
    if importlib.util.find_spec("apprise") is None:
        raise MissingExtraError(
            f"notify.addresses_variable {params.addresses_variable}: needs Apprise, which is not "
            "installed; `make install EXTRAS=notify` in the checkout of pitchpipe does it"
        )
    _addresses(params.addresses_variable)


def apprise_receivers(message: Message, params: NotifyParams) -> Iterator[Receiver]:
    """Yield who is told of a message by Apprise; of unusable addresses one that says so."""
    variable = params.addresses_variable
    if variable is None:
        return
    try:
        check_notify(params)
        addresses = _addresses(variable)
    except ConfigError as error:
        yield Receiver(f"addresses in ${variable}", None, str(error))
        return
    if not addresses:
        yield Receiver(f"addresses in ${variable}", None, "there are none")
    for number, address in enumerate(addresses, start=1):
        called, fault = f"address {number} in ${variable}", "it is none that Apprise knows"
        try:
            send = _sender(address, message, params)
        except Exception as error:  # noqa: BLE001 - of a hundred plugins: anything
            send, fault = None, type(error).__name__  # its message may quote the address
        yield Receiver(called, send, fault)


def rendered(template: str, message: Message) -> str:
    """Fill in the fields of a message; what does not apply is empty."""
    document = message.model_dump(mode="json")
    texts = {name: "" if document[name] is None else document[name] for name in MESSAGE_FIELDS}
    texts["reasons"] = "\n".join(message.reasons)
    scores = message.test.model_dump() if message.test else {}
    texts["test"] = ", ".join(f"{name} {value:.4f}" for name, value in scores.items())
    return Template(template).substitute(texts)


def _addresses(variable: str) -> Sequence[str]:
    """Addresses in a variable, or in the file that it names; raises ConfigError for the file."""
    text = os.environ.get(variable, "").strip()
    if text and "://" not in text:
        path = Path(text).expanduser()
        try:
            mode = stat.S_IMODE(path.stat().st_mode)
            content = path.read_text(encoding="utf-8")
        except (OSError, ValueError) as error:
            reason = getattr(error, "strerror", None) or "is no text"
            raise ConfigError(
                f"${variable}: holds neither addresses nor a readable file of them ({reason}); "
                "set it to one of these"
            ) from None
        if mode & 0o077:
            raise ConfigError(
                f"${variable}: others may read the file that it names (mode {mode:04o}), which "
                "holds secrets; chmod 600 it"
            )
        lines = (line.strip() for line in content.splitlines())
        return [line for line in lines if line and not line.startswith("#")]
    return text.split()


def _sender(address: str, message: Message, params: NotifyParams) -> Callable[[], str] | None:
    """Return what sends once to an address; None: Apprise does not know it."""
    import apprise  # noqa: PLC0415 - an extra; with its plugins 2 s

    _keep_addresses_out_of_logs()
    receiver = apprise.Apprise.instantiate(address)
    if receiver is None:
        return None
    receiver.socket_connect_timeout = receiver.socket_read_timeout = params.timeout_seconds
    everybody = apprise.Apprise()
    everybody.add(receiver)
    send = partial(
        everybody.notify,
        title=rendered(params.title, message),
        body=rendered(params.bodies.get(message.event, params.body), message),
        notify_type=apprise.NotifyType(_TYPES.get(message.event, "info")),
        body_format=apprise.NotifyFormat.TEXT,
    )
    return lambda: "" if send() else "it did not take the message"


def _keep_addresses_out_of_logs() -> None:
    """Apprise says nothing any more, and urllib3 nothing of what our threads ask it."""
    logging.getLogger("apprise").disabled = True
    for name in _LOUD:
        logger = logging.getLogger(name)
        if _not_of_ours not in logger.filters:
            logger.addFilter(_not_of_ours)


def _not_of_ours(record: logging.LogRecord) -> bool:
    return record.threadName != THREAD and threading.current_thread().name != THREAD
