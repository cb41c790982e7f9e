"""Readers of what a project or an archive holds, given files with bytes changed.

A reader returns something, or raises what the command line shows as a sentence: nothing else.
Images, params and schedules are fuzzed in tests/datasets/test_data_fuzz.py.
"""

import hashlib
import io
import os
import resource
import shutil
import sys
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from flows.records import ledger
from flows.registry.safety.files import check_safe
from flows.tracking.events import read_journal
from flows.versions.transfer import INDEX, ExportIndex, _unpack
from models.errors import PitchpipeError
from models.trials import read_history, read_outcome

pytest_plugins = ["faults_fixtures"]

Reader = Callable[[Path], object]
MOST_MEMORY = 2**30
"""Bytes of address space a reader may take beyond what is loaded."""
BIG = st.sampled_from(
    [b"\xff\xff\xff\xff", b"\x7f\xff\xff\xff", b"\0\0\0\0", b"9999999999", b"{" * 64]
)
EDITS = st.lists(
    st.tuples(st.integers(0, 2**16), st.binary(min_size=1, max_size=4) | BIG, st.booleans()),
    min_size=1,
    max_size=6,
)
"""Position, bytes, and whether they are put between (or instead)."""


def export() -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        index = ExportIndex(
            name="digits",
            version=1,
            tags={},
            description="",
            checksums={"model/MLmodel": hashlib.sha256(MLMODEL).hexdigest()},
            ledger=(),
            digest="",
        )
        archive.writestr(INDEX, index.sealed().model_dump_json())
        archive.writestr("model/MLmodel", MLMODEL, zipfile.ZIP_DEFLATED)
    return file.getvalue()


LEDGER = (
    b'{"action":"hold","name":"digits","from":1,"to":2,"verdict":"HOLD","evidence":null,'
    b'"reasons":[],"intends":null,"number":1,"time":"t","who":"w","previous":"p","digest":"d"}\n'
)
HISTORY = (
    b'{"epoch":1,"train_loss":1.0,"train_accuracy":0.5,"validation_loss":1.0,'
    b'"validation_accuracy":0.5,"validation_f1_macro":0.5,"learning_rate":0.1,"seconds":0.1}\n'
)
MLMODEL = b"flavors: {}"
READERS: dict[str, tuple[str, Callable[[], bytes], Reader]] = {
    "export": ("version.zip", export, lambda path: _unpack(path, path.parent / "unpacked")),
    "MLmodel": ("MLmodel", lambda: MLMODEL, lambda path: check_safe(path.parent)),
    "ledger": ("ledger.jsonl", lambda: LEDGER * 2, ledger.read),
    "history": ("history.jsonl", lambda: HISTORY * 2, lambda path: read_history(path.parent)),
    "result": (
        "result.json",
        lambda: b'{"key": "a", "budget": 1}',
        lambda p: read_outcome(p.parent),
    ),
    "journal": (
        "j.jsonl",
        lambda: b'{"at":1,"kind":"ended","status":"FINISHED","verdict":null}\n' * 2,
        lambda path: list(read_journal(path)),
    ),
}


def changed(content: bytes, edits: list[tuple[int, bytes, bool]]) -> bytes:
    """The bytes with some put in or over others."""
    for position, new, between in edits:
        at = position % (len(content) + 1)
        content = content[:at] + new + content[at + (0 if between else len(new)) :]
    return content


@contextmanager
def memory_limit() -> Iterator[None]:
    """Fail what asks for much more memory than the process has now."""
    if sys.platform != "linux":
        yield
        return
    soft, hard = resource.getrlimit(resource.RLIMIT_AS)
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    now = pages * os.sysconf("SC_PAGESIZE")
    resource.setrlimit(resource.RLIMIT_AS, (now + MOST_MEMORY, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, (soft, hard))


def of_a_version(stored: Path, folder: Path) -> bytes:
    """Lay out the files of a version, all of them whole; return its MLmodel."""
    first = min(stored.glob("mlruns/artifacts/*/models/*/artifacts"))
    shutil.copytree(first, folder, dirs_exist_ok=True)
    return (folder / "MLmodel").read_bytes()


def fuzz(folder: Path, stored: Path, name: str, *, examples: int) -> None:
    file, make, reader = READERS[name]
    whole = of_a_version(stored, folder) if name == "MLmodel" else make()
    path = folder / file
    path.write_bytes(whole)
    reader(path)  # the whole file is read: else its refusal would prove nothing

    @settings(max_examples=examples, deadline=None, suppress_health_check=list(HealthCheck))
    @given(EDITS)
    def once(edits: list[tuple[int, bytes, bool]]) -> None:
        path.write_bytes(changed(whole, edits))
        with memory_limit():
            try:
                reader(path)
            except (PitchpipeError, OSError):
                return

    once()


@pytest.mark.parametrize("name", READERS)
def test_changed_bytes_are_read_or_refused(tmp_path: Path, stored: Path, name: str) -> None:
    """A few changes of each."""
    fuzz(tmp_path, stored, name, examples=15)


@pytest.mark.slow
@pytest.mark.chaos
@pytest.mark.timeout(1200)
@pytest.mark.parametrize("name", READERS)
def test_many_changed_bytes_are_read_or_refused(tmp_path: Path, stored: Path, name: str) -> None:
    """A thousand of each."""
    fuzz(tmp_path, stored, name, examples=1000)
