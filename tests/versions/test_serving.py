"""`pitchpipe serve` on loopback, asked as the pages show, while the champion is moved."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import numpy as np
import psutil
import pytest
from project_folder import ProjectFolder, clean_environment, code_blocks
from stored_project import NAME, copied

from flows.registry.promotion.commands import force_promotion, roll_back
from flows.runtime.servers import free_port
from flows.tracking.store import Tracking, open_tracking

pytest_plugins = ["faults_fixtures"]

HEADER = "X-Pitchpipe-Version"


@dataclass(frozen=True, slots=True)
class Served:
    """A project of two versions, the first of them champion, and its server."""

    folder: ProjectFolder
    process: subprocess.Popen[str]
    port: int

    @property
    def url(self) -> str:
        """Where it is asked."""
        return f"http://127.0.0.1:{self.port}"

    def run(self, example: str) -> str:
        """Run an example of a page by a shell in the project; return what it prints."""
        assert ":5001/" in example
        beside = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
        done = subprocess.run(
            ["bash", "-euo", "pipefail", "-c", example.replace(":5001", f":{self.port}")],
            cwd=self.folder.root,
            env={**clean_environment(), "PATH": beside},
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout


@pytest.fixture(scope="module")
def served(stored: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """The champion of the digits, served on a free port until SIGTERM."""
    folder = ProjectFolder(copied(stored, tmp_path_factory.mktemp("served") / "digits"))
    port = free_port(0)
    process = folder.start("serve", "--port", str(port))
    said: list[str] = []
    try:
        assert process.stderr is not None
        for line in process.stderr:
            said.append(line)
            if "Uvicorn running" in line:
                break
        assert process.poll() is None, "".join(said)
        # Somebody must read on, or the server would wait for its own log.
        reader = threading.Thread(target=process.communicate)
        reader.start()
        yield Served(folder, process, port)
    finally:
        family = psutil.Process(process.pid).children(recursive=True)
        process.send_signal(signal.SIGTERM)
        began = time.monotonic()
        code = process.wait(timeout=30)
        seconds = time.monotonic() - began
        reader.join()
        _, alive = psutil.wait_procs(family, timeout=10)
    assert (code, alive) == (143, []), "".join(said)  # no worker outlives the command
    assert seconds < 5


@pytest.fixture
def tracking(served: Served, monkeypatch: pytest.MonkeyPatch) -> Tracking:
    """The registry of the served project."""
    monkeypatch.chdir(served.folder.root)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "sqlite:///mlruns/mlflow.db")
    return open_tracking(NAME)


def test_curl_gets_the_champions_probabilities_as_the_readme_shows(served: Served) -> None:
    """MLflow's protocol: a row an image, a number a class; those that `predict` has."""
    (example,) = code_blocks("bash")

    predictions = np.array(json.loads(served.run(example))["predictions"])

    images = np.load(served.folder.root / "data/prepared/test/images.npy")[:2]
    again = httpx.post(f"{served.url}/invocations", json={"inputs": images.tolist()}).json()
    assert predictions.shape == (2, 10)
    assert np.allclose(predictions.sum(axis=1), 1, atol=1e-5)
    assert np.allclose(predictions, again["predictions"], atol=1e-6)


def test_every_example_of_the_page_gets_labels(served: Served, stored: Path) -> None:
    """Those that version 1 gave the same two pictures when they were stored."""
    root = served.folder.root
    said = json.loads((stored.parent / "expected/predictions_1.json").read_text())[:2]
    for row, wanted in zip(said, ("photo.png", "other.png"), strict=True):
        shutil.copy(root / "asked" / row["image"], root / wanted)
    examples = [one for one in code_blocks("bash", "docs/serving.md") if "/predict" in one]
    assert len(examples) >= 3

    for example in examples:
        answered = json.loads(served.run(example))
        labels = [one["label"] for one in answered["predictions"]]
        assert (answered["model"], answered["version"]) == (NAME, 1)
        assert labels == [row["label"] for row in said][: len(labels)]


@dataclass(slots=True)
class Load:
    """Clients that ask without a pause, and what they were answered."""

    url: str
    content: bytes
    codes: Counter[int] = field(default_factory=Counter)
    versions: Counter[str] = field(default_factory=Counter)
    ended: threading.Event = field(default_factory=threading.Event)

    def ask(self) -> None:
        """Ask until the end; a connection that breaks is a fault of the server."""
        with httpx.Client(timeout=30) as client:
            while not self.ended.is_set():
                answered = client.post(f"{self.url}/predict", content=self.content)
                self.codes[answered.status_code] += 1
                self.versions[answered.headers.get(HEADER, "none")] += 1

    def until_answered_by(self, version: str, seconds: float = 60) -> None:
        """Return once a version has answered, from now on."""
        deadline, before = time.monotonic() + seconds, self.versions[version]
        while self.versions[version] == before:
            assert time.monotonic() < deadline, (self.codes, self.versions)
            time.sleep(0.01)  # answers of another process


def moved_under_load(served: Served, tracking: Tracking, *, least: int) -> Load:
    """Promote version 2 and roll it back, again and again, until so many were answered."""
    picture = next((served.folder.root / "asked").glob("*.png")).read_bytes()
    load = Load(served.url, picture)
    with ThreadPoolExecutor(4) as clients:
        asking = [clients.submit(load.ask) for _ in range(4)]
        try:
            while load.codes.total() < least:
                force_promotion(tracking, 2, reason="a test")
                load.until_answered_by("2")
                roll_back(tracking, to=None, reason="a test")
                load.until_answered_by("1")
        finally:
            load.ended.set()
        for one in asking:
            one.result()
    return load


def test_a_promotion_and_a_rollback_are_in_service_at_once_and_no_request_fails(
    served: Served, tracking: Tracking
) -> None:
    """Each within seconds, under the load of four clients."""
    began = time.monotonic()
    load = moved_under_load(served, tracking, least=20)

    assert set(load.codes) == {200}
    assert set(load.versions) == {"1", "2"}
    assert time.monotonic() - began < 30
    metrics = httpx.get(f"{served.url}/metrics").text
    assert re.search(r"pitchpipe_swaps_total 2\.0", metrics)
    assert httpx.get(f"{served.url}/version").json()["version"] == 1


@pytest.mark.slow
def test_none_of_five_thousand_requests_fails_while_the_champion_is_moved(
    served: Served, tracking: Tracking
) -> None:
    """Promoted and rolled back as often as it can be meanwhile."""
    load = moved_under_load(served, tracking, least=5000)

    assert set(load.codes) == {200}
    assert load.codes.total() >= 5000


@pytest.mark.parametrize(
    ("headers", "code"),
    [
        ({"Content-Type": "application/json"}, 400),  # asked, and found wanting
        ({"Content-Type": "application/json", "Origin": "http://evil.example"}, 403),
        ({"Content-Type": "text/plain", "Origin": "http://127.0.0.1:9"}, 403),
        ({"Content-Type": "text/plain", "Origin": "null"}, 403),
        ({"Content-Type": "application/json", "Host": "evil.example"}, 400),
        ({"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Dest": "empty"}, 403),
    ],
)
def test_pages_of_other_origins_are_not_served(
    served: Served, headers: dict[str, str], code: int
) -> None:
    """Programs of this machine are; a name that was led here is no name of it."""
    answered = httpx.post(f"{served.url}/invocations", content=b"{}", headers=headers)

    assert answered.status_code == code
    assert ("Invalid host header" in answered.text) == ("Host" in headers)


def test_only_this_machine_is_served(served: Served) -> None:
    """The port is bound to loopback and nowhere else."""
    family = psutil.Process().children(recursive=True)  # the server is one; macOS shows no others'
    ends = {
        end.laddr
        for process in family
        for end in process.net_connections(kind="tcp")
        if end.status == psutil.CONN_LISTEN and end.laddr.port == served.port
    }
    assert ends == {("127.0.0.1", served.port)}
