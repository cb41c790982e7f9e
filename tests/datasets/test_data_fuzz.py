"""Bytes of any kind: a parser reads them or refuses them in one message, in bounded memory.

Each parser is run by Hypothesis in a process of its own whose address space is limited.
"""

import contextlib
import gzip
import io
import os
import re
import resource
import struct
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import psutil
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from bad_inputs import IMAGES, LABELS, png
from bombs import BOMBS
from data_fixtures import noise
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image
from project_folder import REPOSITORY

from models.config import DataParams
from models.config.yaml_reader import parse_yaml
from models.datasets.batches import read_batch, read_piece, write_batch
from models.datasets.checks import describe
from models.datasets.decoding import FORMATS, decode
from models.datasets.ingest import check
from models.datasets.labelled_images import EncodedRows, PixelRows
from models.datasets.sources.detect import find_source
from models.errors import InputError, PitchpipeError

MORE_BYTES = 2**31
"""Of address space, beyond what the imports take; a decoded image of 67 megapixels is within."""
HUGE = [2**31 - 1, 2**32 - 1, 2**27, 60_000_000, 65_535, 0]


@st.composite
def damaged(draw: st.DrawFn, seeds: list[bytes]) -> bytes:
    """A good file with bytes changed, numbers made huge, parts repeated, or its end cut off."""
    content = bytearray(draw(st.sampled_from(seeds)))
    for _ in range(draw(st.integers(0, 4))):
        place = draw(st.integers(0, max(0, len(content) - 1)))
        match draw(st.sampled_from(["byte", "number", "repeat", "cut"])):
            case "byte":
                content[place : place + 1] = draw(st.binary(min_size=1, max_size=4))
            case "number":
                order = draw(st.sampled_from(["<I", ">I", "<H", ">H"]))
                limit = 2 ** (8 * struct.calcsize(order)) - 1
                number = struct.pack(order, min(limit, draw(st.sampled_from(HUGE))))
                content[place : place + len(number)] = number
            case "repeat":
                content[place:place] = content[place : place + 64] * draw(st.integers(1, 50))
            case "cut":
                del content[place:]
    return bytes(content)


def pictures() -> list[bytes]:
    made = []
    for mode in ("L", "RGB", "RGBA", "P", "1", "I;16", "CMYK"):
        for kind in FORMATS:
            file = io.BytesIO()
            try:
                Image.new(mode, (9, 5), 3).save(file, format=kind)
            except (OSError, ValueError, KeyError):  # that format has no such mode
                continue
            made.append(file.getvalue())
    return made


def npz_files() -> list[bytes]:
    made = []
    for save in (np.savez, np.savez_compressed):
        file = io.BytesIO()
        arrays = {"x_train": np.zeros((4, 8, 8), np.uint8), "y_train": np.array([0, 1, 0, 1])}
        save(file, **arrays, classes=np.array(["a", "b"]))  # type: ignore[arg-type]
        made.append(file.getvalue())
    return made


def parquet_files() -> list[bytes]:
    made = []
    for labels in ([0, 1, 0, 1], ["a", "b", "a", "b"]):
        file = io.BytesIO()
        images = [{"bytes": png(level), "path": f"{level}.png"} for level in range(4)]
        table = pa.table({"image": images, "label": labels, "split": ["train", "test"] * 2})
        pq.write_table(table, file)
        made.append(file.getvalue())
    return made


def own_batches() -> list[bytes]:
    made = []
    labels, splits = np.array([0, 1, 0, 1]), (None,) * 4
    files = EncodedRows(
        tuple(png(level) for level in range(4)), ("a", "b", "c", "d"), labels, splits
    )
    for rows in (PixelRows(noise(4), labels, splits), files):
        with tempfile.TemporaryDirectory() as folder:
            write_batch(Path(folder) / "a.parquet", ("a", "b"), [rows])
            made.append((Path(folder) / "a.parquet").read_bytes())
    return made


def read_source(content: bytes, name: str) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / name
        path.write_bytes(content)
        if "-images-" in name:
            path.with_name(name.replace("images-idx3", "labels-idx1")).write_bytes(LABELS)
        source = find_source(path)
        check(source, DataParams(), known={})


def read_own_batch(content: bytes) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "a.parquet"
        path.write_bytes(content)
        batch = read_batch(path)
        for piece in range(len(batch.piece_lengths)):
            read_piece(batch, piece)


YAML = [
    b"search:\n  axes: {network.hidden_units: [1, 2e-3]}\n",
    b"a: &x [1, *x]\n? [b]\n: !!binary aGk=\n",
    b"- {name: n, cron: '* * * * *', since: 2026-01-01}\n",
]
PARSERS: dict[str, tuple[Callable[[bytes], object], Callable[[], list[bytes]]]] = {
    "image": (decode, pictures),
    "npz": (lambda content: read_source(content, "a.npz"), npz_files),
    "parquet": (lambda content: read_source(content, "a.parquet"), parquet_files),
    "idx": (lambda content: read_source(content, "train-images-idx3-ubyte"), lambda: [IMAGES]),
    "gzipped idx": (
        lambda content: read_source(content, "train-images-idx3-ubyte.gz"),
        lambda: [gzip.compress(IMAGES), gzip.compress(IMAGES + bytes(10**6))],
    ),
    "batch": (read_own_batch, own_batches),
    "yaml": (lambda content: parse_yaml(content.decode("latin-1"), where="f"), lambda: YAML),
}


def run(name: str) -> subprocess.CompletedProcess[str]:
    support = REPOSITORY / "tests/support"
    paths = os.pathsep.join(map(str, (REPOSITORY, support, support / "hostile")))
    return subprocess.run(
        [sys.executable, "-W", "ignore", __file__, name],
        env=os.environ | {"PYTHONPATH": paths},
        capture_output=True,
        text=True,
        timeout=250,
        check=False,
    )


@pytest.mark.parametrize("name", PARSERS)
def test_any_bytes_are_read_or_refused_in_bounded_memory(name: str) -> None:
    """No other exception, no crash, and no more than two gigabytes."""
    done = run(name)
    assert (done.returncode, done.stdout) == (0, "all read or refused\n"), done.stderr[-3000:]


def test_bombs_are_refused_in_one_message_in_bounded_memory() -> None:
    """A few kilobytes that claim gigabytes, or are read wrongly, are refused by what they claim."""
    done = run("bombs")
    assert (done.returncode, done.stdout) == (0, "all read or refused\n"), done.stderr[-3000:]


def refuse_bombs() -> None:
    for name, (make, message) in BOMBS.items():
        with tempfile.TemporaryDirectory() as folder:
            path = make(Path(folder))
            with limited():
                began = time.monotonic()
                try:
                    report = check(find_source(path), DataParams(), known={})
                    said = describe(report.errors)
                except InputError as error:
                    said = str(error)
            assert re.search(message, said), f"{name}: {said[:500]}"
            assert time.monotonic() - began < 60, name


@contextlib.contextmanager
def limited() -> Iterator[None]:
    """Let the process have so much more address space than it has, while inside."""
    before = resource.getrlimit(resource.RLIMIT_AS)
    limit = psutil.Process().memory_info().vms + MORE_BYTES
    resource.setrlimit(resource.RLIMIT_AS, (limit, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, before)


def fuzz(name: str) -> None:
    parse, seeds = PARSERS[name]

    @settings(
        max_examples=150, deadline=None, database=None, suppress_health_check=list(HealthCheck)
    )
    @given(st.one_of(damaged(seeds()), st.binary(max_size=200)))
    def reads_or_refuses(content: bytes) -> None:
        try:
            parse(content)
        except PitchpipeError as error:
            refusal = str(error)
        else:
            return
        assert 0 < len(refusal) < 5000

    with limited():
        reads_or_refuses()


if __name__ == "__main__":
    refuse_bombs() if sys.argv[1] == "bombs" else fuzz(sys.argv[1])
    sys.stdout.write("all read or refused\n")
