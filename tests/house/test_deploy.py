"""deploy/: what compose.yaml starts is there, no secret is in it, nothing is open to strangers."""

import re
import subprocess
from typing import Any

import pytest
import yaml
from project_folder import REPOSITORY

DEPLOY = REPOSITORY / "deploy"
COMPOSE = yaml.safe_load((DEPLOY / "compose.yaml").read_text(encoding="utf-8"))
SERVICES: dict[str, Any] = COMPOSE["services"]
KEYS = {
    "build", "cap_drop", "command", "depends_on", "environment", "healthcheck", "image", "ports",
    "read_only", "restart", "security_opt", "tmpfs", "volumes",
}  # fmt: skip
"""Of the Compose specification's service, those that are used here."""


@pytest.mark.parametrize("name", SERVICES)
def test_services_are_as_the_specification_has_them(name: str) -> None:
    """Known keys, an image with a tag, volumes and services that there are."""
    service = SERVICES[name]

    assert service.keys() <= KEYS
    assert re.fullmatch(r"[a-z/]+:[\w.-]*\d[\w.-]*", service["image"])
    assert service.get("depends_on", {}).keys() <= SERVICES.keys()
    for waited in service.get("depends_on", {}).values():
        assert waited["condition"] in ("service_healthy", "service_completed_successfully")
    for volume in service.get("volumes", ()):
        source = volume.partition(":")[0]
        assert source in COMPOSE["volumes"] or source == "${PROJECT" or (DEPLOY / source).exists()


@pytest.mark.parametrize("name", SERVICES)
def test_what_is_waited_for_says_when_it_is_ready(name: str) -> None:
    """A service that another waits for has a health check."""
    healthy = {
        waited
        for service in SERVICES.values()
        for waited, how in service.get("depends_on", {}).items()
        if how["condition"] == "service_healthy"
    }

    assert name not in healthy or "healthcheck" in SERVICES[name]


def test_ports_are_on_loopback_unless_told() -> None:
    """Each begins with BIND, whose default is 127.0.0.1; the database has none."""
    ports = [port for service in SERVICES.values() for port in service.get("ports", ())]

    assert len(ports) == 4
    assert all(port.startswith("${BIND:-127.0.0.1}:") for port in ports)
    assert "ports" not in SERVICES["postgres"]


def test_no_secret_is_in_the_files() -> None:
    """Every password is a variable that must be set, and .env.example names each, empty."""
    example = (DEPLOY / ".env.example").read_text(encoding="utf-8")
    empty = set(re.findall(r"^(\w+)=$", example, re.MULTILINE))
    text = (DEPLOY / "compose.yaml").read_text(encoding="utf-8")

    assert set(re.findall(r"\$\{(\w+):\?\}", text)) == empty
    secrets = [line for line in text.splitlines() if re.search(r"(PASSWORD|SECRET|KEY): ", line)]
    assert secrets
    assert all("${" in line for line in secrets)
    ignored = (REPOSITORY / ".gitignore").read_text(encoding="utf-8").splitlines()
    assert ".env" in ignored


def test_the_image_is_pinned_and_not_roots() -> None:
    """A tagged base, the constraints in every install, another user at the end."""
    text = (DEPLOY / "Dockerfile").read_text(encoding="utf-8")

    assert re.search(r"^FROM python:3\.11\.\d+-slim-\w+$", text, re.MULTILINE)
    assert text.count("pip install") == text.count("pip install -c constraints.txt")
    assert re.findall(r"^USER (\w+)$", text, re.MULTILINE)[-1] == "pitchpipe"
    assert "HEALTHCHECK" in text
    for source in re.findall(r"^COPY (?:--\S+ )?(.*) \S+$", text, re.MULTILINE):
        assert all((REPOSITORY / one).exists() for one in source.split())


def test_what_the_image_runs_is_shell() -> None:
    """Each RUN parses and ends at its first failure (no `;`, no pipe); so does the script."""
    joined = (DEPLOY / "Dockerfile").read_text(encoding="utf-8").replace("\\\n", " ")
    runs = re.findall(r"^RUN (.*)$", joined, re.MULTILINE)
    script = (DEPLOY / "mlflow.sh").read_text(encoding="utf-8")

    assert len(runs) >= 2
    assert [run for run in runs if re.search(r";|\|(?!\|)|\bsudo\b|\bcd\b", run)] == []
    assert script.startswith("#!/bin/sh\n")
    assert "\nset -eu\n" in script
    for text in (*runs, script):
        parsed = subprocess.run(
            ["sh", "-n"], input=text, capture_output=True, text=True, check=False
        )
        assert (parsed.returncode, parsed.stderr) == (0, ""), text


def test_serving_says_by_which_names_it_is_asked_and_asks_who_one_is() -> None:
    """Beyond loopback `pitchpipe serve` refuses to start without both."""
    assert "--hostname" in SERVICES["serve"]["command"]
    assert "PITCHPIPE_SERVE_AUTH" in SERVICES["serve"]["environment"]
