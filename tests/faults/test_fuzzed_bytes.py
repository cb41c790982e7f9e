"""Every reader of bytes from outside, given whole files with bytes changed, under a memory limit.

A reader returns something, or raises what the command line shows as a sentence: nothing else.
"""

import gzip
import hashlib
import io
import os
import resource
import struct
import sys
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from data_fixtures import noise
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from flows.records import ledger
from flows.registry.safety import check_safe
from flows.schedules.config import read_schedules
from flows.tracking.events import read_journal
from flows.versions.transfer import INDEX, ExportIndex, _unpack
from models.config import DataParams, load_params
from models.datasets.ingest import check
from models.datasets.sources.detect import find_source
from models.errors import PitchpipeError
from models.trials import read_history, read_outcome

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


def png() -> bytes:
    file = io.BytesIO()
    Image.fromarray(noise(1)[0, :, :, 0]).save(file, format="PNG")
    return file.getvalue()


def npz() -> bytes:
    file = io.BytesIO()
    np.savez(file, images=noise(4)[..., 0], labels=np.array([0, 1, 0, 1]))
    return file.getvalue()


def idx() -> bytes:
    return struct.pack(">4I", 2051, 4, 8, 8) + noise(4).tobytes()


def parquet() -> bytes:
    file = io.BytesIO()
    images = [{"bytes": png(), "path": None} for _ in range(4)]
    pq.write_table(pa.table({"image": images, "label": ["a", "b", "a", "b"]}), file)
    return file.getvalue()


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


def asked(path: Path) -> object:
    """What `data check` looks at: every image decoded."""
    return check(find_source(path), DataParams(), known={})


def png_folder(path: Path) -> object:
    """The file as an image of a class, beside a whole one."""
    for name, content in (("a/0.png", path.read_bytes()), ("b/1.png", png())):
        target = path.parent / "folder" / name
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(content)
    return asked(path.parent / "folder")


def idx_folder(path: Path) -> object:
    """The file as images beside whole labels."""
    folder = path.parent / "idx"
    folder.mkdir(exist_ok=True)
    (folder / "train-images-idx3-ubyte").write_bytes(path.read_bytes())
    labels = struct.pack(">2I", 2049, 4) + bytes([0, 1, 0, 1])
    (folder / "train-labels-idx1-ubyte.gz").write_bytes(gzip.compress(labels))
    return asked(folder)


def mlmodel(path: Path) -> None:
    """The file as the description of a version whose network is there."""
    (path.parent / "data").mkdir(exist_ok=True)
    (path.parent / "data/model.pt2").touch()
    check_safe(path.parent)


def repository_file(name: str) -> bytes:
    return (Path(__file__).resolve().parents[2] / name).read_bytes()


LEDGER = (
    b'{"action":"hold","name":"digits","from":1,"to":2,"verdict":"HOLD","evidence":null,'
    b'"reasons":[],"intends":null,"number":1,"time":"t","who":"w","previous":"p","digest":"d"}\n'
)
HISTORY = (
    b'{"epoch":1,"train_loss":1.0,"train_accuracy":0.5,"validation_loss":1.0,'
    b'"validation_accuracy":0.5,"validation_f1_macro":0.5,"learning_rate":0.1,"seconds":0.1}\n'
)
SCHEDULES = (
    b"- name: nightly\n  cron: 0 3 * * *\n  set: [search.epochs=3]\n- name: b\n  interval: 60\n"
)
MLMODEL = (
    b"flavors:\n  python_function: {loader_module: mlflow.pytorch, data: data}\n"
    b"  pytorch: {model_data: data}\n"
)
READERS: dict[str, tuple[str, Callable[[], bytes], Reader]] = {
    "params": ("params.yaml", lambda: repository_file("params.yaml"), load_params),
    "schedules": ("schedules.yaml", lambda: SCHEDULES, read_schedules),
    "npz": ("images.npz", npz, asked),
    "idx": ("images", idx, idx_folder),
    "parquet": ("images.parquet", parquet, asked),
    "png": ("image", png, png_folder),
    "export": ("version.zip", export, lambda path: _unpack(path, path.parent / "unpacked")),
    "MLmodel": ("MLmodel", lambda: MLMODEL, mlmodel),
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


def fuzz(folder: Path, name: str, *, examples: int) -> None:
    file, make, reader = READERS[name]
    whole, path = make(), folder / file
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
def test_changed_bytes_are_read_or_refused(tmp_path: Path, name: str) -> None:
    """A few changes of each."""
    fuzz(tmp_path, name, examples=15)


@pytest.mark.slow
@pytest.mark.chaos
@pytest.mark.timeout(1200)
@pytest.mark.parametrize("name", READERS)
def test_many_changed_bytes_are_read_or_refused(tmp_path: Path, name: str) -> None:
    """A thousand of each."""
    fuzz(tmp_path, name, examples=1000)
