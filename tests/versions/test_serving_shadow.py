"""`pitchpipe serve --shadow challenger` as its users run it: asked, ended, and reported."""

import json
import signal
import time
from pathlib import Path

import httpx
import psutil
import pytest
from project_folder import ProjectFolder
from stored_project import NAME, change_database, copied
from warm_commands import Started, WarmCommands

from flows.records.shadow_log import COUNTS, ShadowCounts, folder_of
from flows.runtime.servers import answers, free_port
from models.record import read_record

pytest_plugins = ["faults_fixtures"]

ALIAS = (
    "INSERT INTO registered_model_aliases (name, alias, version, workspace)"
    f" SELECT name, 'challenger', 2, workspace FROM registered_models WHERE name = '{NAME}'"
)


def server_of(port: int, warm: WarmCommands) -> psutil.Process:
    """The process that listens there, among those of the forking server."""
    family = psutil.Process(warm.server.pid).children(recursive=True)
    (found,) = [
        one
        for one in family
        for connection in one.net_connections(kind="tcp")
        if connection.status == psutil.CONN_LISTEN and connection.laddr.port == port
    ]
    return found


def until_counted(counts: Path, images: int) -> None:
    """Wait until the challenger was asked of so many: no answer waits for it."""
    deadline = time.monotonic() + 120
    while True:
        found = read_record(counts, ShadowCounts)
        if found is not None and sum(number for _, _, number in found.cells) >= images:
            return
        assert time.monotonic() < deadline, found
        time.sleep(0.05)  # another process: it sends no event


@pytest.fixture
def folder(stored: Path, tmp_path: Path) -> ProjectFolder:
    """Two versions of the digits, the first of them champion, the second its challenger."""
    root = copied(stored, tmp_path / "digits", lambda root: change_database(root, ALIAS))
    return ProjectFolder(root)


@pytest.fixture
def served(folder: ProjectFolder, warm: WarmCommands) -> tuple[int, Started]:
    """The command, once it answers."""
    port = free_port(0)
    command = warm.start(folder.root, "serve", "--port", str(port), "--shadow", "challenger")
    deadline = time.monotonic() + 120
    while not answers(f"http://127.0.0.1:{port}/ping"):
        assert time.monotonic() < deadline, command.stem.with_suffix(".err").read_text()
        time.sleep(0.05)  # another process: it sends no event
    return port, command


def test_the_disagreements_of_two_versions_are_those_that_predict_shows(
    folder: ProjectFolder, served: tuple[int, Started], warm: WarmCommands, stored: Path
) -> None:
    """The champion answers; the report has each picture that the challenger names otherwise."""
    port, command = served
    expected = stored.parent / "expected"
    ours, theirs = (
        {row["image"]: row["label"] for row in json.loads((expected / name).read_text())}
        for name in ("predictions_1.json", "predictions_2.json")
    )
    for image, label in ours.items():
        content = (folder.root / "asked" / image).read_bytes()
        answered = httpx.post(f"http://127.0.0.1:{port}/predict", content=content).json()
        assert (answered["version"], answered["predictions"][0]["label"]) == (1, label)
    counts = folder_of(NAME, champion=1, challenger=2) / COUNTS
    until_counted(folder.root / counts, len(ours))
    server_of(port, warm).send_signal(signal.SIGTERM)
    assert command.wait().code == 128 + signal.SIGTERM

    report = folder.pitchpipe("shadow", "report", "--json").document

    differing = sum(theirs[image] != label for image, label in ours.items())
    assert 0 < differing < len(ours)
    assert (report["counts"]["champion"], report["counts"]["challenger"]) == (1, 2)
    assert sum(cell[2] for cell in report["counts"]["cells"]) == len(ours)
    assert report["logged"] == differing
    assert report["agreement"] == pytest.approx(1 - differing / len(ours))
    page = (folder.root / report["page"]).read_text(encoding="utf-8")
    assert page.count("<img") == differing
