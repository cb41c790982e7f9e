"""Decoding on all cores: the same results in the same order, and no process left behind."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import psutil
import pytest
from data_fixtures import class_folders, noise

from models import processes
from models.config import DataParams
from models.datasets import scanning
from models.datasets.ingest import Ingested, ingest
from models.datasets.prepare import prepare
from models.datasets.scanning import Fault, scan_pieces, scan_rows
from models.datasets.sources import folder
from models.datasets.sources.folder import image_folder
from models.digests import digest_file

DATA = DataParams(name="pets", image_size=8)

KILLED = """
import os, signal
from models import processes
if __name__ == "__main__":
    processes.HERE_SECONDS = -1.0
    pieces = ["__import__('os').getpid()"] * 8
    for _, pid in processes.map_on_cores(eval, pieces):
        print(pid, flush=True)
        os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.fixture
def _many_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(processes, "HERE_SECONDS", -1.0)
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0, 1}, raising=False)


@pytest.fixture(autouse=True)
def _small_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(folder, "_PIECE_FILES", 16)


@pytest.fixture
def pets(tmp_path: Path) -> Path:
    return class_folders(tmp_path / "pets", noise(100, side=9, channels=3))


def _ingested(source: Path, raw: Path) -> tuple[Ingested, str]:
    raw.mkdir()
    ingested = ingest(image_folder(source), raw / "a.parquet", DATA, known={})
    return ingested, prepare(raw, raw.with_suffix(".prepared"), DATA).digest


def test_many_processes_make_what_one_makes(
    pets: Path, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    """Batch, ids and arrays do not depend on how many processes decoded."""
    alone, digest = _ingested(pets, tmp_path / "alone")
    request.getfixturevalue("_many_cores")
    shared, shared_digest = _ingested(pets, tmp_path / "shared")
    assert digest == shared_digest
    assert digest_file(tmp_path / "alone/a.parquet") == digest_file(tmp_path / "shared/a.parquet")
    np.testing.assert_array_equal(alone.scanned.pictures.ids, shared.scanned.pictures.ids)


@pytest.mark.usefixtures("_many_cores")
def test_faults_found_by_other_processes_are_named(pets: Path) -> None:
    """A damaged file in a late piece comes back with its path."""
    (pets / "b" / "00099.png").write_bytes(b"no image")
    found = list(scan_pieces(image_folder(pets).rows(), DATA))
    assert sum(len(scanned) for _, scanned, _ in found) == 99
    (fault,) = [fault for _, _, faults in found for fault in faults]
    assert isinstance(fault, Fault)
    assert fault.path == "b/00099.png"


def test_what_is_decoded_at_once_is_bounded_and_does_not_show(
    pets: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Looked at in portions of three or at once: the same ids, statistics and pixels."""
    rows = next(image_folder(pets).rows())
    whole, pixels, _ = scan_rows(rows, DATA)
    monkeypatch.setattr(scanning, "_PORTION_BYTES", 2 * 9 * 9 * 3)
    parts, same_pixels, _ = scan_rows(rows, DATA)
    np.testing.assert_array_equal(pixels, same_pixels)
    np.testing.assert_array_equal(whole.pictures.ids, parts.pictures.ids)
    np.testing.assert_array_equal(whole.statistics.thumbnails, parts.statistics.thumbnails)


def test_workers_end_when_their_parent_is_killed() -> None:
    """Kill -9 runs no clean-up, and idle workers would wait for ever."""
    done = subprocess.run(
        [sys.executable, "-c", KILLED], stdout=subprocess.PIPE, text=True, timeout=60, check=False
    )
    assert done.returncode == -signal.SIGKILL
    try:
        psutil.Process(int(done.stdout)).wait(timeout=20)
    except psutil.NoSuchProcess:
        return
