"""The first command, everywhere: odd folders, a long TMPDIR, and a system without Linux's ways."""

import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
from data_fixtures import class_folders, noise
from project_folder import (
    QUICK,
    ProjectFolder,
    Ran,
    clean_environment,
    code_blocks,
    make_project,
    overrides,
)

from flows.engines.opening import check_devices
from flows.engines.ray_cluster import ROOM_BYTES
from flows.records.retraining import Request
from models.config import Params, TrialConfig
from models.errors import ConfigError, PitchpipeError
from models.processes import SHORTEST_SOCKET_BYTES, short_temporary_folder, usable_cores

LONG = "x" * 100
"""A folder's name: no socket has a path as long as one below it."""

AS_ON_MACOS = """
import os
if hasattr(os, "sched_getaffinity"):
    del os.sched_getaffinity
if hasattr(os, "process_cpu_count"):  # it calls what is deleted above
    os.process_cpu_count = os.cpu_count
from models import processes
processes.LINUX = False
"""
"""Python runs a sitecustomize.py of its path before anything else, in every process."""

SPAWNED = "multiprocessing.spawn"


@pytest.fixture
def _long_tmpdir(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / LONG).mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / LONG))


@pytest.fixture
def macos(tmp_path: Path) -> dict[str, str]:
    """Variables that take from every process of ours what Linux alone has."""
    (tmp_path / "macos").mkdir()
    (tmp_path / "macos/sitecustomize.py").write_text(AS_ON_MACOS)
    return {"PYTHONPATH": str(tmp_path / "macos")}


def test_cores_are_counted_where_processes_have_no_affinity(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """All of the machine then, and one where not even those are known."""
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {2, 5}, raising=False)
    assert usable_cores() == 2

    monkeypatch.delattr(os, "sched_getaffinity")
    for counted, usable in ((8, 8), (None, 1)):
        monkeypatch.setattr(os, "cpu_count", lambda counted=counted: counted)
        assert usable_cores() == usable


@pytest.mark.parametrize("room", [32, ROOM_BYTES])
def test_sockets_go_where_their_paths_are_short_enough(
    room: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where temporary files go if the name fits there to the byte, else /tmp, where any fits."""
    most = SHORTEST_SOCKET_BYTES - 1 - room
    fits, too_long, two_bytes_each = "/" + "x" * (most - 1), "/" + "x" * most, "/" + "ü" * most

    for usual, chosen in ((fits, fits), (too_long, "/tmp"), (two_bytes_each[: most - 1], "/tmp")):
        monkeypatch.setattr(tempfile, "tempdir", usual)
        assert short_temporary_folder(room) == chosen
    assert len(chosen) + room < SHORTEST_SOCKET_BYTES


@pytest.mark.usefixtures("_long_tmpdir")
def test_a_long_tmpdir_without_a_way_round_says_what_to_do(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The folder, the rule and the way out."""
    monkeypatch.setattr(os, "access", lambda *_: False)

    with pytest.raises(PitchpipeError, match=rf"TMPDIR .*{LONG}: .* allows 103; set TMPDIR"):
        short_temporary_folder(32)


def test_trials_on_several_devices_are_refused_where_no_process_may_be_forked(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """But for a cluster that there is, whose machines are not this one."""
    params = Params(trial=TrialConfig(devices=2))
    check_devices(params, Request())
    monkeypatch.setattr("flows.engines.opening.LINUX", False)

    check_devices(Params(), Request())
    check_devices(params, Request(engine="dask", engine_address="there:8786"))
    with pytest.raises(ConfigError, match=r"trial\.devices 2: .* set trial\.devices to 1"):
        check_devices(params, Request())


@pytest.fixture
def odd_project(tmp_path: Path) -> ProjectFolder:
    """A project whose path a shell would take apart, entered by a link, with a long TMPDIR."""
    root = tmp_path / "it's a (2nd) $HOME; #1" / "pro ject"
    make_project(root)
    link, temporary = tmp_path / "a link", tmp_path / LONG
    link.symlink_to(root)
    temporary.mkdir()
    return ProjectFolder(link, {"TMPDIR": str(temporary)})


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_a_project_works_in_any_folder_by_any_path_with_any_tmpdir(
    odd_project: ProjectFolder, retrained: tuple[ProjectFolder, Ran], tmp_path: Path
) -> None:
    """The same retraining as elsewhere; by the path behind the link there is nothing to do."""
    ran = odd_project.pitchpipe("run", "--json", *overrides(*QUICK), timeout=600)
    same = ProjectFolder(odd_project.root.resolve())
    again = same.pitchpipe("run", "--json", *overrides(*QUICK))
    photos = class_folders(tmp_path / "my photos", noise(20, side=28, channels=1))
    predicted = odd_project.pitchpipe(
        "predict", str(photos), "--output", "a table.csv", "--version", "1"
    )

    assert ran.code == 0, ran.err
    assert results(ran) == results(retrained[1])
    assert again.code == 0, again.err
    assert again.document["decision"]["retrain"] is False
    assert predicted.code == 0, predicted.err
    assert len((same.root / "a table.csv").read_text().splitlines()) == 21
    assert list(Path(odd_project.environment["TMPDIR"]).rglob("listener-*")) == []


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_without_what_linux_alone_has_a_retraining_is_the_same(
    project: ProjectFolder, retrained: tuple[ProjectFolder, Ran], macos: dict[str, str]
) -> None:
    """No affinity, no fork server: trials import what they need, and come to the same bits."""
    there = ProjectFolder(project.root, macos)
    ran = there.pitchpipe("run", "--json", *overrides(*QUICK), timeout=600)
    photos = class_folders(project.root / "photos", noise(100, side=9, channels=3))
    added = there.pitchpipe("data", "add", str(photos), "--dataset", "photos")
    predicted = there.pitchpipe("predict", str(photos), "--version", "1", "--json")

    assert ran.code == 0, ran.err
    assert results(ran) == results(retrained[1])
    assert added.code == 0, added.err
    assert (predicted.code, len(predicted.document)) == (0, 100)


def results(ran: Ran) -> object:
    """What a retraining came to: no times, no names."""
    said = ran.document
    return said["best"], said["test"], said["verdict"], said["trials"]


@pytest.fixture
def training(
    project: ProjectFolder, macos: dict[str, str]
) -> Iterator[tuple[subprocess.Popen[str], list[psutil.Process]]]:
    """A retraining that would take long, in a group of its own, and its trials' processes."""
    process = subprocess.Popen(
        [str(Path(sys.executable).parent / "pitchpipe"), "run", *overrides("search.epochs=4000")],
        cwd=project.root,
        env={**clean_environment(), **macos},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    trials: list[psutil.Process] = []
    with process:
        while process.poll() is None and not trials:
            trials = [one for one in family_of(process.pid) if SPAWNED in command_of(one)]
        yield process, trials
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)


def family_of(pid: int) -> list[psutil.Process]:
    return [*psutil.Process(pid).children(recursive=True)]


def command_of(process: psutil.Process) -> str:
    try:
        return " ".join(process.cmdline())
    except psutil.NoSuchProcess:  # and a zombie
        return ""


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_ctrl_c_is_not_for_trials_that_are_starting(
    training: tuple[subprocess.Popen[str], list[psutil.Process]],
) -> None:
    """It reaches every process of the terminal: one message, none of Python's own."""
    process, trials = training
    assert trials

    os.killpg(process.pid, signal.SIGINT)
    _, err = process.communicate(timeout=120)

    assert process.returncode == 130
    assert "interrupted" in err
    assert "Traceback" not in err


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_trials_end_with_a_killed_retraining_without_the_kernels_help(
    training: tuple[subprocess.Popen[str], list[psutil.Process]],
) -> None:
    """After kill -9 nobody trains on."""
    process, trials = training
    family = family_of(process.pid)

    process.kill()
    _, alive = psutil.wait_procs({*family, *trials}, timeout=120)

    assert trials
    assert [command_of(one) for one in alive] == []


def test_commands_of_the_page_on_engines_are_those_that_there_are(
    retrained: tuple[ProjectFolder, Ran],
) -> None:
    """Each `pitchpipe` command of docs/engines.md is understood, its address put aside."""
    folder, _ = retrained
    lines = [line for block in code_blocks("sh", "docs/engines.md") for line in block.splitlines()]
    commands = [line.partition("#")[0].split() for line in lines if line.startswith("pitchpipe")]

    assert {words[words.index("--engine") + 1] for words in commands if "--engine" in words} == {
        "dask",
        "ray",
    }
    for _, *words in commands:
        ran = folder.pitchpipe(*words, "--dry-run")
        expected = 2 if "--engine-address" in words else 0
        assert ran.code == expected, (words, ran.err)
        assert expected == 0 or "nothing answers there" in ran.err
