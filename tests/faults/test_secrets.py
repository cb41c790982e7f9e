"""Passwords in addresses are in no file of a project, whatever becomes of its retrainings."""

import base64
import json
import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from project_folder import QUICK, ProjectFolder, Ran, make_project, overrides
from stub_server import receiver
from tracking_server import TrackingServer

pytestmark = [pytest.mark.slow, pytest.mark.chaos, pytest.mark.timeout(900)]

PASSWORD, HOOK, TOKEN = "hunter2-of-mlflow", "hunter2-of-the-hook", "hunter2-in-the-query"
BASIC = base64.b64encode(f"user:{PASSWORD}".encode()).decode()
"""What a request to the tracking server says of it."""
SECRETS = (PASSWORD, HOOK, TOKEN, BASIC)
VARIABLE = "PITCHPIPE_WEBHOOK_URL"
NOTIFIED = (*QUICK, f"notify.webhook_variable={VARIABLE}", "notify.attempts=2")


def holding_secrets(folder: Path) -> Iterator[str]:
    """Every file below that holds one; databases with their journals, logs and archives too."""
    for here, _, names in os.walk(folder):
        for path in (Path(here) / name for name in names):
            content = path.read_bytes() if path.is_file() else b""
            yield from (f"{path}: {secret}" for secret in SECRETS if secret.encode() in content)


def retrain(project: ProjectFolder, tracking: str, hook: str) -> Ran:
    """A whole retraining whose addresses hold secrets, by environment, as users give them."""
    return project.pitchpipe(
        "run",
        "--force",
        "--json",
        *overrides(*NOTIFIED),
        timeout=600,
        MLFLOW_TRACKING_URI=tracking.replace("//", f"//user:{PASSWORD}@"),
        **{VARIABLE: f"{hook}/hooks/{HOOK}?token={TOKEN}"},
    )


def test_secrets_of_addresses_are_in_no_store(tmp_path: Path) -> None:
    """A retraining that is told to both; then the receiver refuses; then the server is away."""
    project, home = make_project(tmp_path / "project"), tmp_path / "server"
    home.mkdir()
    server = TrackingServer(home)
    server.start()
    try:
        with receiver(200) as (address, bodies):
            told = retrain(project, server.url, address)
        with receiver(500) as (address, refused):
            again = retrain(project, server.url, address)
    finally:
        server.kill()
    with receiver(200) as (address, last):
        failed = retrain(project, server.url, address)

    assert told.code == 0, told.err
    assert json.loads(bodies[0])["event"] == "promote"
    assert again.code in (0, 3), again.err
    assert len(refused) == 2
    assert failed.code == 1, failed.err
    assert json.loads(last[0])["event"] == "failure"
    said = "".join(ran.out + ran.err for ran in (told, again, failed))
    assert [secret for secret in SECRETS if secret in said] == []
    assert [secret for secret in SECRETS for body in (*bodies, *last) if secret in str(body)] == []
    assert list(holding_secrets(project.root)) == []
    assert list(holding_secrets(home)) == []
