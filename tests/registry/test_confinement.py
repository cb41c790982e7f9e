"""The process that tries what others made: it reads and computes, and can do little else."""

import ctypes
import json
import socket
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from flows.registry import confinement
from models.processes import LINUX

CONFINED = """
import json, os, resource, runpy, socket, subprocess, sys
from pathlib import Path
found = runpy.run_path(sys.argv[1])
found["confine"](memory_bytes=2 * 2**30, cpu_seconds=60)
if sys.argv[3] == "refusing":
    found["refuse_calls"]()
def said(act):
    try:
        return repr(act())
    except BaseException as error:
        return type(error).__name__
answers = {}
exec(sys.argv[2])
os.write(1, json.dumps(answers).encode())
"""


def landlock() -> int:
    """Version of the kernel's Landlock; 0 where there is none."""
    if sys.platform != "linux":
        return 0
    return max(0, int(ctypes.CDLL(None).syscall(444, None, 0, 1)))


def leaves_the_network() -> bool:
    """Whether a process may take itself off the network here."""
    code = "import ctypes, sys; sys.exit(ctypes.CDLL(None).unshare(0x50000000) != 0)"
    return subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


needs_landlock = pytest.mark.skipif(landlock() < 3, reason="the kernel has no Landlock")
needs_a_network = pytest.mark.skipif(
    landlock() < 4 and not leaves_the_network(), reason="neither user namespaces nor Landlock 4"
)


def confined(acts: str, folder: Path, *, refusing: bool = False) -> Any:
    """What became of acts, a line of Python each, in a confined process."""
    module = find_spec(confinement.__name__)
    assert module is not None
    assert module.origin is not None
    way = "refusing" if refusing else "plain"
    done = subprocess.run(
        [sys.executable, "-I", "-c", CONFINED, module.origin, acts, way],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_files_can_be_read_and_do_not_grow(tmp_path: Path) -> None:
    """On any system: what is there is read, and no byte is written."""
    (tmp_path / "there").write_text("content")
    acts = """
answers["read"] = said(lambda: Path("there").read_text())
answers["written"] = said(lambda: Path("there").write_text("longer content"))
answers["sum"] = said(lambda: sum(range(10)))
"""
    answers = confined(acts, tmp_path)
    assert answers["read"] == "'content'"
    assert answers["written"] in {"PermissionError", "OSError"}
    assert answers["sum"] == "45"


@needs_landlock
def test_nothing_is_written_made_renamed_or_deleted(tmp_path: Path) -> None:
    """By Landlock, whoever asks for it: C code, too."""
    (tmp_path / "there").write_text("content")
    (tmp_path / "folder").mkdir()
    acts = """
answers["written"] = said(lambda: open("there", "r+"))
answers["made"] = said(lambda: open("new", "w"))
answers["folder"] = said(lambda: os.mkdir("other"))
answers["renamed"] = said(lambda: os.rename("there", "elsewhere"))
answers["deleted"] = said(lambda: os.remove("there"))
answers["cut"] = said(lambda: os.truncate("there", 0))
answers["removed"] = said(lambda: os.rmdir("folder"))
answers["linked"] = said(lambda: os.symlink("there", "link"))
"""
    assert set(confined(acts, tmp_path).values()) == {"PermissionError"}
    assert sorted(path.name for path in tmp_path.iterdir()) == ["folder", "there"]
    assert (tmp_path / "there").read_text() == "content"


@needs_landlock
def test_no_program_is_started(tmp_path: Path) -> None:
    """Not by the shell and not directly."""
    acts = """
answers["shell"] = os.system("/bin/true")
answers["program"] = said(lambda: subprocess.run([sys.executable, "-V"], capture_output=True))
"""
    answers = confined(acts, tmp_path)
    assert answers["shell"] != 0
    assert answers["program"] == "PermissionError"


@needs_a_network
def test_no_service_is_reached(tmp_path: Path) -> None:
    """Not even one of this machine."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        acts = f'answers["reached"] = said(lambda: socket.create_connection(("127.0.0.1", {port})))'
        answers = confined(acts, tmp_path)
        server.setblocking(False)
        with pytest.raises(BlockingIOError):
            server.accept()
    assert answers["reached"].endswith(("Error", "OSError", "PermissionError"))


@pytest.mark.skipif(not LINUX, reason="macOS refuses to limit memory")
def test_memory_ends_somewhere(tmp_path: Path) -> None:
    """A network that wants more than it may is an error, not the end of the machine."""
    assert confined('answers["taken"] = said(lambda: len(bytes(4 * 2**30)))', tmp_path) == {
        "taken": "MemoryError"
    }


ON_MACOS = """
import json, os, resource, runpy, sys
sys.platform = "darwin"
limit = resource.setrlimit
def refuses_memory(which, limits):
    if which == resource.RLIMIT_AS:
        raise ValueError("current limit exceeds maximum limit")
    limit(which, limits)
resource.setrlimit = refuses_memory
runpy.run_path(sys.argv[1])["confine"](memory_bytes=2 * 2**30, cpu_seconds=60)
limited = (resource.RLIMIT_FSIZE, resource.RLIMIT_CORE, resource.RLIMIT_CPU)
os.write(1, json.dumps([resource.getrlimit(one)[0] for one in limited]).encode())
"""


def test_a_system_that_does_not_limit_memory_limits_the_rest() -> None:
    """As macOS: nothing of the others is left out for it, and the version is tried."""
    done = subprocess.run(
        [sys.executable, "-c", ON_MACOS, confinement.__file__],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == [0, 0, 60]


def test_calls_that_leave_a_trace_raise(tmp_path: Path) -> None:
    """On any system, for what is called from Python."""
    (tmp_path / "there").write_text("content")
    acts = """
answers["system"] = said(lambda: os.system("true"))
answers["run"] = said(lambda: subprocess.run(["true"]))
answers["socket"] = said(lambda: socket.socket())
answers["write"] = said(lambda: open("there", "a"))
answers["remove"] = said(lambda: os.remove("there"))
answers["kill"] = said(lambda: os.kill(os.getpid(), 0))
"""
    assert set(confined(acts, tmp_path, refusing=True).values()) == {"PermissionError"}
    assert (tmp_path / "there").exists()
