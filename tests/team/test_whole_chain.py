"""From a folder of pictures to a team's servers and back: every step of a champion's life there."""

import json
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import psutil
import pytest
from data_fixtures import command, save_png
from project_folder import ProjectFolder, overrides
from team_servers import BUCKET, Team

from flows.runtime.servers import free_port

pytest_plugins = ["team_servers"]
pytestmark = [pytest.mark.team, pytest.mark.slow, pytest.mark.timeout(1800)]

SEARCH = (
    "search.epochs=6",
    "search.axes={optimizer.learning_rate: [0.003]}",
    "search.baselines=false",
    "trial.network={name: cnn, channels: [8, 8, 8]}",
    "trial.augmentation={name: none}",
    "trial.mixing={name: none}",
    "trial.ema_decay=0",
    "gate.minimum_test_images=30",
    "inbox.settle_seconds=5",
)
"""A training of seconds."""
NIGHT, DAY, SNOW = 60, 140, 220
"""Mean brightness of pictures. Snow is a night's, which nobody tells who has not seen any."""


def draw(folder: Path, kinds: dict[str, int], *, count: int, seed: int) -> Path:
    """Class folders of grey noise, by their classes' mean brightness."""
    random = np.random.default_rng(seed)
    for name, brightness in kinds.items():
        for index in range(count):
            pixels = random.normal(brightness, 15, (16, 16, 1)).clip(0, 255).astype(np.uint8)
            save_png(folder / name / f"{index}.png", pixels)
    return folder


@dataclass(frozen=True, slots=True)
class Served:
    """A `pitchpipe serve` of the champion."""

    url: str

    def version(self) -> int:
        """What is in service."""
        return int(httpx.get(f"{self.url}/version", timeout=30).json()["version"])

    def label(self, picture: Path) -> str:
        """What it calls a picture."""
        sent = picture.read_bytes()
        answer = httpx.post(
            f"{self.url}/predict", content=sent, headers={"Content-Type": "image/png"}
        )
        assert answer.status_code == 200, answer.text
        return str(answer.json()["predictions"][0]["label"])

    def wait_for(self, version: int, *, told: Callable[[], str], seconds: float) -> None:
        """Look until a version is in service; fail with what was told where it does not come."""
        deadline = time.monotonic() + seconds
        while self.version() != version:
            assert time.monotonic() < deadline, told()
            time.sleep(0.2)  # another process follows an alias on a server: no event reaches us


@contextmanager
def running(folder: ProjectFolder, log: Path, *arguments: str) -> Iterator[None]:
    """Run a command that serves, until SIGTERM; its output goes to a file, and no child is left."""
    process = folder.start_into(log, *arguments)
    family = list[psutil.Process]()
    try:
        yield
        assert process.poll() is None, log.read_text()
        family = psutil.Process(process.pid).children(recursive=True)
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(timeout=60)
        _, alive = psutil.wait_procs(family, timeout=20)
    assert [one.cmdline() for one in alive] == []


@pytest.fixture(scope="module")
def folder(team: Team, tmp_path_factory: pytest.TempPathFactory) -> ProjectFolder:
    """A project made of a folder of pictures; all it knows of servers is in its environment."""
    home = tmp_path_factory.mktemp("chain")
    pictures = draw(home / "pictures", {"night": NIGHT, "day": DAY}, count=160, seed=0)
    project = ProjectFolder(
        home / "skies", {**team.environment, "PITCHPIPE_LEDGER": f"s3://{BUCKET}/chain/ledger"}
    )
    began = ProjectFolder(home, project.environment)
    made = began.pitchpipe("init", "skies", "--from", str(pictures), "--json")
    assert made.code == 0, made.err
    assert made.document["added"]["images"] == 320
    remote = ["remote", "add", "-d", "team", f"s3://{BUCKET}/chain/dvc"]
    subprocess.run([command("dvc"), *remote], cwd=project.root, check=True, capture_output=True)
    return project


@pytest.fixture(scope="module")
def first(folder: ProjectFolder) -> ProjectFolder:
    """The project after its first retraining, which was promoted."""
    ran = folder.pitchpipe("run", "--json", *overrides(*SEARCH), timeout=900)
    assert ran.code == 0, ran.err
    assert (ran.document["verdict"], ran.document["version"]) == ("PROMOTE", 1)
    return folder


@pytest.fixture(scope="module")
def served(first: ProjectFolder, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """The champion in service, for as long as this module's tests last."""
    port = free_port(0)
    log = tmp_path_factory.mktemp("serve") / "log"
    with running(first, log, "serve", "--port", str(port)):
        server = Served(f"http://127.0.0.1:{port}")
        until_it_answers(server, log)
        yield server


def said(project: ProjectFolder, *command: str) -> Any:
    """The document of a command that reads."""
    ran = project.pitchpipe(*command, "--json")
    assert ran.code == 0, ran.err
    return ran.document


def until_concluded(project: ProjectFolder, retrainings: int, log: Path) -> None:
    """Wait for the end of a retraining, some seconds after its version is in service."""
    deadline = time.monotonic() + 300
    while len((project.root / "mlruns/retrainings.jsonl").read_text().splitlines()) < retrainings:
        assert time.monotonic() < deadline, log.read_text()
        time.sleep(0.2)  # another process writes it


def logged_versions(project: ProjectFolder) -> list[Any]:
    """Versions of its data, oldest first."""
    text = (project.root / "data/versions.jsonl").read_text()
    return [json.loads(line) for line in text.splitlines()]


def until_it_answers(server: Served, log: Path) -> None:
    """Wait for a server that sends no event when it is ready."""
    deadline = time.monotonic() + 300
    while True:
        try:
            httpx.get(f"{server.url}/ping").raise_for_status()
        except httpx.HTTPError:
            assert time.monotonic() < deadline, log.read_text()
            time.sleep(0.2)
        else:
            return


def test_a_delivery_in_the_bucket_becomes_a_champion_that_serves(
    first: ProjectFolder, served: Served, team: Team, tmp_path: Path
) -> None:
    """Pictures that version 1 has wrong arrive: version 2 is trained, promoted and in service."""
    snow = draw(tmp_path / "asked", {"night": SNOW}, count=1, seed=9) / "night/0.png"
    assert served.version() == 1
    assert served.label(snow) == "day"
    there = ("--inbox", f"s3://{BUCKET}/deliveries", "--name", "arrivals")
    added = first.pitchpipe("schedule", "--on-new-data", *there, *overrides(*SEARCH))
    assert added.code == 0, added.err
    log = tmp_path / "up.log"
    ports = ["--mlflow-port", str(free_port(0)), "--prefect-port", str(free_port(0))]

    with running(first, log, "up", *ports):
        deliver(team, tmp_path / "snow")
        served.wait_for(2, told=log.read_text, seconds=900)
        until_concluded(first, 2, log)

    assert served.label(snow) == "night"
    [promoted] = [one for one in said(first, "versions") if "champion" in one["aliases"]]
    assert promoted["version"] == 2


def deliver(team: Team, pictures: Path) -> None:
    """Put pictures into the bucket, as whoever takes them does."""
    draw(pictures, {"night": SNOW, "day": DAY}, count=160, seed=1)
    for picture in sorted(pictures.rglob("*.png")):
        key = f"deliveries/{picture.relative_to(pictures.parent)}"
        team.store.client.put_object(Bucket=BUCKET, Key=key, Body=picture.read_bytes())


def test_a_rollback_is_in_service_at_once(first: ProjectFolder, served: Served) -> None:
    """The server follows the alias back, and the ledger says who is champion."""
    moved = first.pitchpipe("rollback", "--json")
    assert moved.code == 0, moved.err

    served.wait_for(1, told=lambda: moved.out, seconds=60)

    [champion] = [one for one in said(first, "versions") if "champion" in one["aliases"]]
    assert champion["version"] == 1


@pytest.mark.parametrize(
    "command",
    [
        ("audit", "--verify"),
        ("trace", "2"),
        ("reproduce", "2"),
        ("export", "2", "two.zip"),
        ("gc", "--dry-run"),
        ("sync",),
        ("doctor", "--deep"),
        ("data", "status"),
        ("run", *overrides(*SEARCH)),
    ],
    ids=lambda command: command[0],
)
def test_what_was_done_is_proved_and_kept(first: ProjectFolder, command: tuple[str, ...]) -> None:
    """Nothing is amiss: whole chains, equal bits, nothing to remove, nothing to do again."""
    ran = first.pitchpipe(*command, "--json", timeout=600)

    assert ran.code == 0, ran.err + ran.out
    assert "Traceback" not in ran.err


def test_the_servers_and_they_alone_have_it_all(first: ProjectFolder, team: Team) -> None:
    """Both batches are in DVC's remote, two moves and a rollback in the ledger, no run is open."""
    remote = team.store.objects("chain/dvc/")
    entries = team.store.objects("chain/ledger/entries/")
    running = team.rows("select name from runs where status = 'RUNNING'")

    *_, version = logged_versions(first)
    md5s = [batch["md5"] for batch in version["batches"]]
    assert len(md5s) == 2
    assert [md5 for md5 in md5s if not any(key.endswith(md5[2:]) for key in remote)] == []
    assert len(entries) == len((first.root / "mlruns/ledger.jsonl").read_text().splitlines())
    assert running == []
    assert not (first.root / "mlruns/mlflow.db").exists()
