"""Apprise tells mail, Slack and others; here its JSON, which a receiver on loopback can read."""

import http.server
import json
import logging
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from prefect.client.orchestration import get_client
from prefect.events.schemas.automations import EventTrigger
from prefect.settings import PREFECT_API_URL, temporary_settings
from project_folder import code_blocks
from registry_records import BARS, Command, ended_retraining

from flows.records.ledger import Entry
from flows.retraining import notify, notify_apprise
from flows.retraining.notify import outcome_message, send_notification
from flows.retraining.notify_apprise import check_notify, rendered
from flows.retraining.notify_moves import entry_message
from models.config import NotifyParams, load_params
from models.errors import ConfigError, MissingExtraError

pytest_plugins = ["registry_fixtures", "registry_project"]

VARIABLE, SECRET = "ADDRESSES_OF_OURS", "s3cr3t-t0ken"
PARAMS = NotifyParams(addresses_variable=VARIABLE, timeout_seconds=5, attempts=1)
MESSAGE = outcome_message(ended_retraining())


class Receiver(http.server.BaseHTTPRequestHandler):
    received: list[Any] = []  # noqa: RUF012 - of the class, which the server instantiates
    status = 200

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.received.append(body)
        self.send_response(self.status)
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.fixture(scope="module")
def served() -> Iterator[str]:
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Receiver) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"json://127.0.0.1:{server.server_port}/{SECRET}"
        server.shutdown()
        thread.join()


@pytest.fixture
def address(served: str, monkeypatch: pytest.MonkeyPatch) -> str:
    """Of a receiver that has heard nothing, known to this process; pauses take no time."""
    Receiver.received.clear()
    Receiver.status = 200
    monkeypatch.setenv(VARIABLE, served)
    monkeypatch.setattr(notify, "wait", lambda _: None)
    return served


def test_a_message_is_sent_by_its_templates(address: str) -> None:
    """The event's own body, where it has one; to every address."""
    params = PARAMS.model_copy(
        update={"title": "[$event] $name", "bodies": {"promote": "$version: $reasons, 5 $$"}}
    )
    assert address
    assert send_notification(MESSAGE, params)
    [sent] = Receiver.received
    assert sent["title"] == "[promote] digits-classifier"
    assert sent["message"] == "2: better by 1 %, 5 $"
    assert sent["type"] == "success"


def test_a_field_that_does_not_apply_is_empty() -> None:
    assert rendered("$who|$champion|$reasons", MESSAGE) == "|2|better by 1 %"


@pytest.mark.parametrize("text", ["$nobody", "${version", "costs $5"])
def test_a_template_of_other_fields_is_refused(text: str, tmp_path: Path) -> None:
    """Before anything is begun, with the fields there are."""
    path = tmp_path / "params.yaml"
    path.write_text(json.dumps({"notify": {"body": text}}))
    with pytest.raises(ConfigError, match=r"notify\.body.*\$reasons"):
        load_params(path)


def test_addresses_may_stand_in_a_file_of_ones_own(
    address: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Which others can read it is refused before anything is begun; the message has no address."""
    file = tmp_path / "addresses"
    file.write_text(f"# ours\n{address}\n\n{address}\n")
    file.chmod(0o600)
    monkeypatch.setenv(VARIABLE, str(file))
    check_notify(PARAMS)
    assert send_notification(MESSAGE, PARAMS)
    assert len(Receiver.received) == 2
    file.chmod(0o640)
    with pytest.raises(ConfigError, match="chmod 600") as refused:
        check_notify(PARAMS)
    assert SECRET not in str(refused.value)
    assert not send_notification(MESSAGE, PARAMS)


@pytest.mark.parametrize(
    "bad", ["", f"nothing://{SECRET}", f"json://127.0.0.1:9/{SECRET}", f"slack://{SECRET}", "/no"]
)
def test_what_is_unusable_fails_nothing_and_is_not_told(
    address: str, bad: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """A warning that names the variable, whoever logs, at any level; others are told."""
    monkeypatch.setenv(VARIABLE, f"{bad} {address}" if "://" in bad else bad)
    with caplog.at_level(logging.DEBUG):
        assert not send_notification(MESSAGE, PARAMS)
    assert VARIABLE in caplog.text
    assert SECRET not in caplog.text
    assert len(Receiver.received) == ("://" in bad)


def test_one_that_refuses_is_asked_again(address: str, caplog: pytest.LogCaptureFixture) -> None:
    Receiver.status = 500
    with caplog.at_level(logging.DEBUG):
        assert not send_notification(MESSAGE, PARAMS.model_copy(update={"attempts": 2}))
    assert len(Receiver.received) == 2
    assert "it did not take the message, 2 times" in caplog.text
    assert SECRET not in caplog.text
    assert address


def test_one_that_hangs_is_waited_for_no_longer_than_stated(
    address: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Whatever a library does: `seconds`, and no longer."""
    released = threading.Event()
    monkeypatch.setattr(notify_apprise, "_sender", lambda *_: lambda: str(released.wait(20)))
    params = PARAMS.model_copy(update={"timeout_seconds": 0.1})
    began = time.monotonic()
    assert not send_notification(MESSAGE, params)
    assert time.monotonic() - began < 5
    assert "did not answer within 0.1 s" in caplog.text
    released.set()
    assert address


def test_a_silent_socket_is_given_up_by_apprise_itself(
    address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`timeout_seconds` is the plugins' own."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = silent.getsockname()[1]
        monkeypatch.setenv(VARIABLE, f"json://127.0.0.1:{port}/{SECRET} {address}")
        assert not send_notification(MESSAGE, PARAMS.model_copy(update={"timeout_seconds": 0.2}))
    assert len(Receiver.received) == 1


def test_the_longest_time_is_stated() -> None:
    """3 attempts of 5 s, with 1 and 2 s in between."""
    assert NotifyParams().seconds == 18
    assert NotifyParams(attempts=1).seconds == 5


def test_without_the_extra_a_command_ends_with_one_message(
    pitchpipe: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Exit 2, before a champion is moved; without the param Apprise is not asked for."""
    monkeypatch.setattr("importlib.util.find_spec", lambda _: None)
    command = ("promote", "1", "--force", "--reason", "so")
    code, _, said = pitchpipe(*command, "--set", f"notify.addresses_variable={VARIABLE}")
    assert code == 2
    assert said.count("\n") == 1
    assert "make install EXTRAS=notify" in said
    with pytest.raises(MissingExtraError):
        check_notify(PARAMS)
    assert pitchpipe(*command)[0] == 0


def test_moves_by_hand_are_told(address: str, pitchpipe: Command) -> None:
    """After they were made, with who and why; what did nothing is not told."""
    told = ("--set", f"notify.addresses_variable={VARIABLE}")
    for command in (
        ("promote", "1", "--force", "--reason", "the first"),
        ("promote", "1", "--force", "--reason", "the first"),
        ("reject", "2", "--reason", "blurred"),
        ("promote", "2", "--force", "--reason", "all the same"),
        ("rollback", "--reason", "worse"),
    ):
        assert pitchpipe(*command, *told)[0] == 0
    assert [one["title"] for one in Receiver.received] == [
        f"{BARS}: {event}" for event in ("promote", "reject", "promote", "rollback")
    ]
    assert "rolled back to version 1, from version 2" in Receiver.received[-1]["message"]
    assert Receiver.received[-1]["message"].endswith("worse")
    assert address


@pytest.mark.parametrize(
    ("action", "champion"), [("reject", 1), ("hold", 1), ("await", 1), ("adopt", 2), ("foreign", 2)]
)
def test_a_message_of_an_entry_says_who_serves_after_it(action: str, champion: int) -> None:
    facts = {"action": action, "name": "n", "from": 1, "to": 2, "number": 1, "time": "t"}
    entry = Entry.model_validate(facts | {"who": "w", "previous": "p", "digest": "d"})
    message = entry_message(entry)
    assert (message.version, message.champion, message.event) == (2, champion, action)
    assert "version 2" in message.text or action == "foreign"


@pytest.mark.slow  # a Prefect server
def test_the_automation_of_the_page_is_taken_by_prefect(
    prefect_api: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As it stands there."""
    with temporary_settings({PREFECT_API_URL: prefect_api}):
        monkeypatch.setenv("SLACK_WEBHOOK", "https://hooks.slack.com/services/a/b/c")
        [snippet] = code_blocks("python", "docs/notifications.md")
        exec(compile(snippet, "docs/notifications.md", "exec"), {})
        with get_client(sync_client=True) as client:
            found = client.read_automations_by_name("champion moved by hand")
    triggers = [one.trigger for one in found]
    expected = [one.expect for one in triggers if isinstance(one, EventTrigger)]
    assert expected == [{"pitchpipe.champion.foreign"}]
