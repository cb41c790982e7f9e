"""DVC and the project's datasets: fresh, versioned, undisturbed."""

import os
import subprocess
from pathlib import Path

import pytest
from data_fixtures import command, make_project

from flows.dataset_version import (
    PREPARED,
    ensure_ingested,
    prepare_dataset,
    prepared_is_current,
    raw_version,
)
from models.config import DataParams
from models.datasets.prepared import read_manifest


@pytest.fixture(params=["git", "archive"], autouse=True)
def _project(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Stand in a fresh project, cloned by git or unpacked from an archive."""
    monkeypatch.chdir(make_project(tmp_path / "a project", git=request.param == "git"))


def dvc(*arguments: str) -> str:
    done = subprocess.run(
        [command("dvc"), *arguments], capture_output=True, text=True, check=True, timeout=120
    )
    return done.stdout


def test_preparing_leaves_dvc_with_nothing_to_do() -> None:
    """After a preparation with params of its own, `dvc status` is clean, with git and without."""
    data = DataParams(image_size=16)
    version = prepare_dataset(data)
    assert "up to date" in dvc("status")
    assert version.digest == raw_version("digits").digest
    assert version.prepared_digest == read_manifest(PREPARED).digest
    assert version.dvc_md5 is not None
    assert version.dvc_md5.endswith(".dir")
    assert prepared_is_current(data)
    assert not prepared_is_current(DataParams())


def test_preparing_again_runs_nothing() -> None:
    """A second call with the same params leaves the very same files."""
    first = prepare_dataset(DataParams())
    before = (PREPARED / "manifest.json").stat()
    assert prepare_dataset(DataParams()) == first
    after = (PREPARED / "manifest.json").stat()
    assert (before.st_ino, before.st_mtime_ns) == (after.st_ino, after.st_mtime_ns)


def test_arrays_altered_behind_dvc_are_made_again() -> None:
    """A flipped byte under unchanged length and time is invisible to DVC, and found by digest."""
    version = prepare_dataset(DataParams())
    path = PREPARED / "test" / "images.npy"
    status = path.stat()
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
    assert prepare_dataset(DataParams()) == version


def test_an_absent_dataset_has_a_version_too() -> None:
    """Nothing was added: no batches, and still a digest to compare with."""
    absent = raw_version("digits")
    ensure_ingested(DataParams())
    present = raw_version("digits")
    assert absent.batches == ()
    assert present.batches == ("digits.parquet",)
    assert absent.digest != present.digest
