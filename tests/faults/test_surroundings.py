"""Servers that fail, a full disk, little memory, a clock put back, a locked database, pairs."""

import itertools
import os
import signal
import socket
import sqlite3
import subprocess
import time
from contextlib import closing
from pathlib import Path

import psutil
import pytest
from dying_command import Fate
from invariants import broken_invariants, champion
from project_folder import ProjectFolder, Ran, overrides, read_until
from stored_project import NAME, copied
from stub_server import failing_server
from warm_commands import WarmCommands

pytest_plugins = ["faults_fixtures"]

FAILURES = ("down", "500", "401", "HTML", "silent")
OF_MLFLOW = ("versions", "promote 2", "evaluate 2", "trace 2", "sync", "audit", "predict asked")
OF_PREFECT = ("run --force", "tune")
WRITING = (
    "promote 2",
    "reject 2",
    "data add delivery --name more",
    "export 2 version.zip",
    "monitor asked",
    "schedule pause nightly",
    "predict asked --output rows.csv",
)
AT_ONCE = (
    "promote 2",
    "rollback --to 2",
    "reject 2",
    "adopt --reason x",
    "gc",
    "sync",
    "prepare",
    "data add delivery --name more",
    "export 2 version.zip",
    "monitor asked",
    "schedule pause nightly",
    "audit --verify",
)
SECRET = "hunter2-not-to-be-seen"
PATIENCE = 150.0
"""Seconds after which a command that asks a server in vain has to have given up."""


def assert_own_end(ran: Ran, codes: tuple[int, ...] = (0, 1, 2, 3)) -> None:
    assert ran.code in codes, ran
    assert "Traceback" not in ran.err, ran.err
    assert ran.code == 0 or ran.err.strip()


@pytest.mark.slow
@pytest.mark.chaos
@pytest.mark.timeout(1200)
@pytest.mark.parametrize("how", FAILURES)
@pytest.mark.parametrize("command", OF_MLFLOW)
def test_mlflow_that_fails_is_said_and_nothing_is_changed(
    warm: WarmCommands, stored: Path, tmp_path: Path, how: str, command: str
) -> None:
    """Exit 1 with a sentence, within its patience; the password of the address is nowhere."""
    root = copied(stored, tmp_path / "project")
    with failing_server(how) as address:
        secret = address.replace("//", f"//user:{SECRET}@")
        ran = warm.run(root, *command.split(), seconds=PATIENCE, MLFLOW_TRACKING_URI=secret)
    assert_own_end(ran, (1, 2))
    assert SECRET not in ran.err + ran.out
    assert broken_invariants(root, at_rest=True, secrets=(SECRET,)) == []
    assert champion(root, NAME) == 1


@pytest.mark.slow
@pytest.mark.chaos
@pytest.mark.timeout(600)
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
@pytest.mark.parametrize("how", FAILURES)
def test_a_signal_is_heard_in_time_while_mlflow_fails(
    stored: Path, tmp_path: Path, how: str, number: signal.Signals
) -> None:
    """In mid-search: within five seconds it has ended, and its epochs are kept."""
    folder = ProjectFolder(copied(stored, tmp_path / "project"))
    long = overrides("search.epochs=100000", "search.axes={seed: [7, 8]}")
    with failing_server(how) as address:
        process = folder.start("tune", *long, MLFLOW_TRACKING_URI=address)
        began = wait_for_epochs(folder.root, process)
        process.send_signal(number)
        _, err = process.communicate(timeout=120)
        seconds = time.monotonic() - began

    assert process.returncode == 128 + number, err
    assert "Traceback" not in err, err
    assert seconds < 5
    assert broken_invariants(folder.root) == []


def wait_for_epochs(root: Path, process: "subprocess.Popen[str]") -> float:
    """Return the time at which both trials had epochs of this search."""
    before = set(root.glob("mlruns/trials/*/history.jsonl"))
    while process.poll() is None:
        new = set(root.glob("mlruns/trials/*/history.jsonl")) - before
        if len([path for path in new if path.stat().st_size]) == 2:
            break
        psutil.Process().cpu_percent(interval=0.05)  # a file of another process: no event
    return time.monotonic()


@pytest.mark.slow
@pytest.mark.chaos
@pytest.mark.timeout(1200)
@pytest.mark.parametrize("how", FAILURES)
@pytest.mark.parametrize("command", OF_PREFECT)
def test_prefect_that_fails_is_said_or_done_without(
    warm: WarmCommands, stored: Path, tmp_path: Path, how: str, command: str
) -> None:
    """The command ends by itself; what it wrote is whole."""
    root = copied(stored, tmp_path / "project")
    with failing_server(how) as address:
        ran = warm.run(root, *command.split(), seconds=PATIENCE, PREFECT_API_URL=f"{address}/api")
    assert_own_end(ran)
    assert broken_invariants(root) == []


@pytest.mark.slow
@pytest.mark.chaos
@pytest.mark.timeout(600)
@pytest.mark.parametrize("command", WRITING)
@pytest.mark.parametrize("limit", [0, 100, 5_000, 100_000])
def test_a_full_disk_leaves_all_whole(
    warm: WarmCommands, stored: Path, tmp_path: Path, command: str, limit: int
) -> None:
    """No file grows beyond so many bytes; then there is room again, and the command ends well."""
    root = copied(stored, tmp_path / "project")
    ran = warm.run(root, *command.split(), fate=Fate(file_bytes=limit))
    assert ran.code in (0, 1, 2, 3), ran
    assert broken_invariants(root) == []
    assert_own_end(warm.run(root, *command.split()))
    assert warm.run(root, "audit", "--verify").code == 0
    assert broken_invariants(root, at_rest=True) == []


def test_a_full_disk_moves_no_alias(warm: WarmCommands, stored: Path, tmp_path: Path) -> None:
    """The ledger could not be written: the champion is who it was."""
    root = copied(stored, tmp_path / "project")
    ran = warm.run(root, *WRITING[0].split(), "--force", "--reason", "x", fate=Fate(file_bytes=100))
    assert ran.code == 1
    assert champion(root, NAME) == 1
    assert broken_invariants(root) == []


@pytest.mark.slow
@pytest.mark.chaos
@pytest.mark.parametrize("command", WRITING)
def test_a_clock_put_back_an_hour_breaks_no_chain(
    warm: WarmCommands, stored: Path, tmp_path: Path, command: str
) -> None:
    """What is written now is older than what is there; order is by number, not by time."""
    root = copied(stored, tmp_path / "project")
    assert warm.run(root, "reject", "2").code == 0
    assert_own_end(warm.run(root, *command.split(), fate=Fate(clock_back=3600)))
    assert warm.run(root, "audit", "--verify").code == 0
    assert broken_invariants(root, at_rest=True) == []


@pytest.mark.slow
@pytest.mark.chaos
@pytest.mark.timeout(300)
@pytest.mark.parametrize("command", ["promote 2", "reject 2", "status", "versions", "sync"])
def test_a_locked_database_is_waited_for_or_said(
    warm: WarmCommands, stored: Path, tmp_path: Path, command: str
) -> None:
    """Somebody holds MLflow's database for as long as the command lasts."""
    root = copied(stored, tmp_path / "project")
    with closing(sqlite3.connect(root / "mlruns/mlflow.db")) as connection:
        connection.execute("begin exclusive")
        ran = warm.run(root, *command.split(), seconds=PATIENCE)
        connection.rollback()
    assert_own_end(ran)
    assert warm.run(root, "audit", "--verify").code == 0
    assert broken_invariants(root, at_rest=True) == []


@pytest.mark.slow
@pytest.mark.chaos
def test_taken_ports_are_said(stored: Path, tmp_path: Path) -> None:
    """`up` serves at other ports than one that somebody listens on, and says so."""
    folder = ProjectFolder(copied(stored, tmp_path / "project"))
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        process = folder.start("up", "--mlflow-port", port, "--prefect-port", port)
        said = read_until(process, "Runs")
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=60)
    assert f":{port}" not in said
    assert err.count(f"port {port} is taken by another program") == 2
    assert broken_invariants(folder.root, at_rest=True) == []


@pytest.mark.slow
@pytest.mark.chaos
@pytest.mark.timeout(300)
@pytest.mark.parametrize("pair", list(itertools.combinations(AT_ONCE, 2)), ids=" | ".join)
def test_two_commands_at_once_leave_all_whole(
    warm: WarmCommands, stored: Path, tmp_path: Path, pair: tuple[str, str]
) -> None:
    """Started together: each ends by itself, and the project is as if one came after the other."""
    root = copied(stored, tmp_path / "project")
    for ran in [one.wait() for one in [warm.start(root, *words.split()) for words in pair]]:
        assert_own_end(ran)
    assert warm.run(root, "audit", "--verify").code == 0
    assert broken_invariants(root, at_rest=True) == []


@pytest.mark.slow
@pytest.mark.chaos
@pytest.mark.timeout(300)
@pytest.mark.parametrize("command", ["evaluate 2", "promote 2", "predict asked", "prepare"])
def test_little_memory_ends_a_command_by_itself(
    warm: WarmCommands, stored: Path, tmp_path: Path, command: str
) -> None:
    """Address space for no more than what is loaded: an error, not another answer."""
    root = copied(stored, tmp_path / "project")
    loaded = int(Path(f"/proc/{warm.server.pid}/statm").read_text().split()[0])
    limit = loaded * os.sysconf("SC_PAGESIZE") + 2**24
    ran = warm.run(root, *command.split(), fate=Fate(memory_bytes=limit))
    # A library in C may end the process by a signal: -6 abort, -11 segmentation fault.
    assert ran.code in (0, 1, 2, 3, -6, -11), ran
    assert warm.run(root, "audit", "--verify").code == 0
    assert broken_invariants(root, at_rest=True) == []
