"""A webhook is told how retrainings end, and is never a reason for one to fail."""

import http.server
import json
import logging
import socket
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from made_once import put_databases
from project_folder import (
    QUICK,
    ProjectFolder,
    Ran,
    make_project,
    overrides,
    users_prefect,
    users_prefect_environment,
)
from registry_records import ended_retraining

from flows.records.retraining import Retraining
from flows.retraining import notify
from flows.retraining.decide import fingerprint
from flows.retraining.notify import (
    failure_message,
    notifying_failure,
    outcome_message,
    send_notification,
)
from flows.runtime.servers import free_port
from models.config import NotifyParams, Params, load_params
from models.errors import ConfigError, InputError

VARIABLE = "PITCHPIPE_WEBHOOK_URL"
ONE_TRIAL = "search.axes={minibatch_size: [32]}"
SECRET = "s3cr3t-t0ken"
PARAMS = NotifyParams(webhook_variable=VARIABLE, timeout_seconds=2)


@dataclass
class Webhook:
    """A receiver on loopback that answers as it is told to."""

    port: int
    answers: list[int] = field(default_factory=list)
    """Status of each coming request; 200 where there is none left."""
    received: list[Any] = field(default_factory=list)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/hooks/{SECRET}"


def handler(webhook: Webhook) -> type[http.server.BaseHTTPRequestHandler]:
    class Receiver(http.server.BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            assert self.headers["Content-Type"] == "application/json"
            assert self.path == f"/hooks/{SECRET}"
            webhook.received.append(json.loads(body))
            self.send_response(webhook.answers.pop(0) if webhook.answers else 200)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    return Receiver


@pytest.fixture(scope="module")
def served() -> Iterator[Webhook]:
    """One receiver for the module."""
    webhook = Webhook(port=0)
    with http.server.HTTPServer(("127.0.0.1", 0), handler(webhook)) as server:
        webhook.port = server.server_port
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield webhook
        server.shutdown()
        thread.join()


@pytest.fixture
def webhook(served: Webhook, monkeypatch: pytest.MonkeyPatch) -> Webhook:
    """The receiver, having heard nothing, known to this process; pauses take no time."""
    served.answers.clear()
    served.received.clear()
    monkeypatch.setenv(VARIABLE, served.url)
    monkeypatch.setattr(notify, "wait", lambda _: None)
    return served


@pytest.mark.parametrize(
    ("ended", "event", "says"),
    [
        (ended_retraining(), "promote", "version 2 is the champion"),
        (ended_retraining("HOLD", action="hold", champion=1), "hold", "version 2 is held"),
        (ended_retraining("HOLD", action="hold"), "hold", "version 2 is the champion"),
        (
            ended_retraining("REJECT", action="reject", champion=None),
            "reject",
            "2 is rejected",
        ),
        (ended_retraining(action="await", champion=1), "await", "pitchpipe approve 2"),
        (ended_retraining(action=None, champion=1), "await", "pitchpipe promote 2"),
    ],
)
def test_every_end_has_its_event_and_its_sentence(
    webhook: Webhook, ended: Retraining, event: str, says: str
) -> None:
    """The verdict, the versions and the reasons are sent with it."""
    assert send_notification(outcome_message(ended), PARAMS)
    [sent] = webhook.received
    assert sent["event"] == event
    assert says in sent["text"]
    assert (sent["name"], sent["version"]) == ("digits-classifier", 2)
    assert sent["reasons"] == ["better by 1 %"]


def test_nothing_is_sent_by_default(webhook: Webhook) -> None:
    """Off, even where the variable is set; events that were not asked for are not sent."""
    message = outcome_message(ended_retraining())
    assert not send_notification(message, NotifyParams())
    assert not send_notification(message, PARAMS.model_copy(update={"events": ("failure",)}))
    assert webhook.received == []


def test_a_webhook_that_comes_to_itself_is_told(webhook: Webhook) -> None:
    """Tried again after an error, until it answers."""
    webhook.answers[:] = [503, 500]
    assert send_notification(outcome_message(ended_retraining()), PARAMS)
    assert len(webhook.received) == 3


@pytest.mark.parametrize("statuses", [[500, 502, 503], [404, 404, 404]])
def test_a_webhook_that_refuses_is_given_up_and_its_address_kept_secret(
    webhook: Webhook, statuses: list[int], caplog: pytest.LogCaptureFixture
) -> None:
    """No error; the log names variable and status, never the URL."""
    webhook.answers[:] = statuses
    with caplog.at_level(logging.DEBUG):
        assert not send_notification(outcome_message(ended_retraining()), PARAMS)
    assert f"it answered {statuses[-1]}, 3 times" in caplog.text
    assert VARIABLE in caplog.text
    assert SECRET not in caplog.text


@pytest.mark.parametrize(
    "address",
    [
        "",
        f"not a url {SECRET}",
        f"ftp://127.0.0.1/{SECRET}",
        f"file:///etc/{SECRET}",
        f"http://127.0.0.1:port/{SECRET}",
        f"http://[{SECRET}",
        f"http://127.0.0.1/{SECRET} and spaces\n",
        f"http://127.0.0.1:9/{SECRET}",
    ],
)
def test_a_wrong_address_fails_nothing_and_is_not_told(
    webhook: Webhook,
    address: str,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Whatever the variable holds: a warning that names the variable."""
    assert webhook.received == []
    monkeypatch.setenv(VARIABLE, address)
    with caplog.at_level(logging.DEBUG):
        assert not send_notification(outcome_message(ended_retraining()), PARAMS)
    assert VARIABLE in caplog.text
    assert SECRET not in caplog.text


def test_a_webhook_that_never_answers_is_waited_for_no_longer_than_asked(
    webhook: Webhook, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Connected to, and silent: timeout_seconds, attempts times."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        monkeypatch.setenv(VARIABLE, f"http://127.0.0.1:{silent.getsockname()[1]}/")
        params = PARAMS.model_copy(update={"timeout_seconds": 0.1, "attempts": 2})
        assert not send_notification(outcome_message(ended_retraining()), params)
    assert "TimeoutError, 2 times" in caplog.text
    assert webhook.received == []


def test_pauses_grow_and_end_with_the_last_attempt(
    webhook: Webhook, monkeypatch: pytest.MonkeyPatch
) -> None:
    """1, 2, 4 seconds; none after giving up."""
    pauses: list[float] = []
    monkeypatch.setattr(notify, "wait", pauses.append)
    webhook.answers[:] = [500] * 4
    assert not send_notification(
        outcome_message(ended_retraining()), PARAMS.model_copy(update={"attempts": 4})
    )
    assert pauses == [1, 2, 4]


def test_failures_are_told_and_go_on(webhook: Webhook) -> None:
    """With the error's words; what interrupts a retraining is not told."""
    params = Params(notify=PARAMS)
    with pytest.raises(InputError), notifying_failure(params):
        raise InputError("photos/: holds no image")
    with pytest.raises(KeyboardInterrupt), notifying_failure(params):
        raise KeyboardInterrupt
    with notifying_failure(params):
        pass
    [sent] = webhook.received
    assert (sent["event"], sent["name"]) == ("failure", "digits-classifier")
    assert sent["text"] == ("digits-classifier: the retraining failed: photos/: holds no image")


def test_an_error_without_words_is_told_by_its_class() -> None:
    assert failure_message(RuntimeError(), name="x").reasons == ("RuntimeError",)


def test_params_take_a_variable_and_no_address(tmp_path: Path) -> None:
    """The URL itself in a params file would be in MLflow and in every version."""
    path = tmp_path / "params.yaml"
    path.write_text(f"notify: {{webhook_variable: {VARIABLE}, events: [promote, failure]}}")
    assert load_params(path).notify.events == ("promote", "failure")
    path.write_text("notify: {webhook_variable: 'https://chat.example/hook'}")
    with pytest.raises(ConfigError, match=r"notify\.webhook_variable"):
        load_params(path)


def test_whom_to_tell_is_no_reason_to_retrain(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The same fingerprint with and without."""
    monkeypatch.chdir(tmp_path)
    assert fingerprint(Params()) == fingerprint(Params(notify=PARAMS))


@pytest.fixture(scope="module")
def told(
    served: Webhook, tmp_path_factory: pytest.TempPathFactory, databases: Path
) -> tuple[ProjectFolder, list[Ran], list[Any]]:
    """A project with gate.approval manual: one retraining failed, one passed, one approved."""
    root = tmp_path_factory.mktemp("told") / "project"
    server = users_prefect(free_port(0))
    put_databases(databases, make_project(root).root)
    project = ProjectFolder(root, {VARIABLE: served.url, "PREFECT_API_URL": f"{server.url}/api"})
    configured = (f"notify.webhook_variable={VARIABLE}", "gate.approval=manual", *QUICK)
    # Weights grow by 99 times a step.
    diverging = "trial.optimizer={name: sgd, learning_rate: 100, weight_decay: 1.0}"
    served.received.clear()
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(root)  # Prefect's database goes where the process stands
        started = server.start(users_prefect_environment(server))
    with started:
        server.wait_ready()
        ran = [
            project.pitchpipe("run", "--json", *overrides(*configured, diverging, ONE_TRIAL)),
            project.pitchpipe("run", "--json", *overrides(*configured)),
        ]
    ran.append(project.pitchpipe("approve", "1", "--json", "--reason", "looked at its mistakes"))
    return project, ran, list(served.received)


Told = tuple[ProjectFolder, list[Ran], list[Any]]


def test_a_retraining_that_failed_is_told(told: Told) -> None:
    """Exit 1, and an event with the reason."""
    _, (failed, *_), (failure, *_) = told
    assert failed.code == 1
    assert failure["event"] == "failure"
    assert failure["verdict"] is None


def test_manual_approval_stops_the_flow_tells_and_then_promotes(told: Told) -> None:
    """Exit 3 with the verdict PROMOTE and no champion; `approve` makes it so."""
    project, (_, waiting, approved), (_, sent) = told
    assert waiting.code == 3, waiting.err
    document = waiting.document
    assert (document["verdict"], document["awaits_approval"]) == ("PROMOTE", True)
    assert (document["version"], document["champion"]) == (1, None)
    assert (sent["event"], sent["version"], sent["champion"]) == ("await", 1, None)
    assert "pitchpipe approve 1" in sent["text"]
    assert sent["test"] == document["test"]
    assert sent["mlflow_run"] == document["mlflow_run"]
    assert approved.code == 0, approved.err
    assert (approved.document["action"], approved.document["to"]) == ("promote", 1)
    assert approved.document["verdict"] == "PROMOTE"
    [version] = project.pitchpipe("versions", "--json").document
    assert version["aliases"] == ["champion"]
    assert project.pitchpipe("audit", "--verify", "--json").document["valid"] is True


def test_the_address_is_written_nowhere(told: Told) -> None:
    """Neither in a file of the project (MLflow's and Prefect's databases included) nor said."""
    project, ran, _ = told
    files = [path for path in project.root.rglob("*") if path.is_file()]
    assert len(files) > 50
    assert [path for path in files if SECRET.encode() in path.read_bytes()] == []
    assert SECRET not in "".join(one.out + one.err for one in ran)
