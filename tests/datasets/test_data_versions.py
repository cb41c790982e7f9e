"""DVC and the project's datasets: fresh, versioned, undisturbed."""

import os
import shutil
import subprocess
import sys
from contextlib import ExitStack
from pathlib import Path

import dvc.lock as dvc_lock
import pytest
from data_fixtures import command, make_project
from dvc.repo import Repo
from dvc_objects.errors import ObjectFormatError
from dvc_objects.fs.base import FileSystem
from dvc_objects.fs.errors import AuthError, ConfigError, RemoteMissingDepsError

from flows.datasets.current import (
    PREPARED,
    ensure_ingested,
    prepare_dataset,
    prepared_is_current,
    raw_version,
)
from flows.datasets.dvc import push, remote_url, track
from flows.datasets.files import RAW
from flows.datasets.versions import logged_versions
from models.config import DataParams, Fractions
from models.datasets.prepared import read_manifest
from models.errors import IntegrityError, PitchpipeError

BOTH = pytest.mark.parametrize("_project", ["git", "archive"], indirect=True)
"""Cloned by git, and unpacked from a downloaded archive."""


@pytest.fixture(autouse=True)
def _project(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Stand in a fresh project, cloned by git unless a test asks for more."""
    git = getattr(request, "param", "git") == "git"
    monkeypatch.chdir(make_project(tmp_path / "a project", git=git))


def dvc(*arguments: str) -> str:
    """Run DVC as a user does who has made the environment and not activated it."""
    if not Path(".venv").exists():
        Path(".venv").symlink_to(sys.prefix, target_is_directory=True)
    done = subprocess.run(
        [command("dvc"), *arguments],
        env=os.environ | {"PATH": "/usr/bin:/bin"},
        capture_output=True,
        text=True,
        check=True,
        timeout=120,
    )
    return done.stdout


@BOTH
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


def test_a_clone_without_cache_and_remote_ingests_digits_again() -> None:
    """Only the .dvc file came with the clone: the digits are in scikit-learn, and the same."""
    version = prepare_dataset(DataParams())
    for folder in (RAW / "digits", PREPARED, Path(".dvc/cache")):
        shutil.rmtree(folder)
    assert prepare_dataset(DataParams()) == version


def test_a_clone_gets_its_batches_from_the_cache() -> None:
    """A tracked dataset that is not in the workspace is checked out, not ingested."""
    ensure_ingested(DataParams())
    batch = RAW / "digits" / "digits.parquet"
    content = batch.read_bytes()
    shutil.rmtree(RAW / "digits")
    ensure_ingested(DataParams())
    assert batch.read_bytes() == content
    assert len(logged_versions("digits")) == 1


def test_a_busy_dvc_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """While another process holds DVC's lock, tracking tries again until it is free."""
    ensure_ingested(DataParams())
    monkeypatch.setattr(dvc_lock, "DEFAULT_TIMEOUT", 0.01)
    with ExitStack() as held:
        held.enter_context(Repo(".").lock)
        waits: list[float] = []

        def wait(seconds: float) -> None:
            waits.append(seconds)
            held.close()

        monkeypatch.setattr("flows.datasets.dvc.wait", wait)
        assert track("digits") is not None
    assert len(waits) == 1


MISSING = RemoteMissingDepsError(FileSystem(), "s3", "s3://bucket", ["s3fs"])


@pytest.mark.parametrize(
    "fault",
    [
        MISSING,
        ConfigError("no key"),
        AuthError("denied"),
        ObjectFormatError("odd"),
        OSError("full"),
    ],
)
def test_whatever_dvc_raises_is_an_error_of_ours(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, fault: Exception
) -> None:
    """Not all of it is a DvcException; a push that fails is only logged."""
    ensure_ingested(DataParams())
    dvc("remote", "add", "-d", "away", "https://user:s3cr3t@host/path")

    def fail(*_: object, **__: object) -> None:
        raise fault

    monkeypatch.setattr(Repo, "push", fail)
    monkeypatch.setattr(Repo, "add", fail)
    with pytest.raises(PitchpipeError, match="DVC: "):
        track("digits")
    push("digits")
    assert "was not pushed" in caplog.text


def test_a_default_remote_that_is_none_is_named() -> None:
    """core.remote naming no section is no KeyError."""
    dvc("config", "core.remote", "gone")
    with pytest.raises(PitchpipeError, match=r"core\.remote names 'gone'"):
        remote_url()


def test_a_remotes_password_is_nowhere(caplog: pytest.LogCaptureFixture) -> None:
    """Neither in what becomes a version's facts nor in what is said of a push that fails."""
    dvc("remote", "add", "-d", "away", "http://user:s3cr3t@127.0.0.1:9/path")
    version = prepare_dataset(DataParams())
    assert version.remote == "http://127.0.0.1:9/path"
    assert "was not pushed" in caplog.text
    assert "s3cr3t" not in caplog.text
    kept = [path for path in Path().rglob("*") if path.is_file() and ".dvc" not in path.parts]
    assert not any(b"s3cr3t" in path.read_bytes() for path in kept)


def test_a_failing_stage_says_so() -> None:
    """Fractions that leave test empty: the stage's failure is an error of ours."""
    data = DataParams(fractions=Fractions(validation=1e-9, test=1e-9))
    with pytest.raises(PitchpipeError, match="failed to reproduce 'prepare'"):
        prepare_dataset(data)
    assert not PREPARED.exists()


def test_a_batch_that_was_altered_is_named() -> None:
    """Other bytes under a batch's name stop everything, and the way back is shown."""
    version = prepare_dataset(DataParams())
    batch = RAW / "digits" / "digits.parquet"
    content = bytearray(batch.read_bytes())
    content[5000] ^= 1
    batch.write_bytes(content)
    with pytest.raises(IntegrityError, match=f"digits.parquet.*data restore {version.digest[:12]}"):
        prepare_dataset(DataParams())


def test_a_batch_placed_before_a_kill_is_tracked_later() -> None:
    """Killed between placing the batch and tracking it: the next preparation makes up for it."""
    ensure_ingested(DataParams())
    (RAW / "digits.dvc").unlink()
    Path("data/versions.jsonl").unlink()
    version = prepare_dataset(DataParams())
    assert version.dvc_md5 is not None
    assert [logged.digest for logged in logged_versions("digits")] == [version.digest]


def test_dvc_repro_repeats_what_ran() -> None:
    """A DVC user's `dvc repro` after a change by hand makes the very same arrays."""
    version = prepare_dataset(DataParams(image_size=16))
    (PREPARED / "manifest.json").write_text("{}")
    dvc("repro")
    assert read_manifest(PREPARED).digest == version.prepared_digest
    assert "up to date" in dvc("status")


def test_dvc_repro_works_in_a_fresh_clone(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing ran here before: params.yaml is resolved, digits ingested, and edits count."""
    monkeypatch.setenv("PATH", f"{Path(sys.executable).parent}:/usr/bin:/bin")
    with Repo(".") as repo:
        repo.reproduce()
        assert read_manifest(PREPARED).params == DataParams()
        assert repo.status() == {}
    params = Path("params.yaml")
    params.write_text(params.read_text().replace("image_size: 28", "image_size: 32"))
    with Repo(".") as repo:
        repo.reproduce()
    assert read_manifest(PREPARED).params == DataParams(image_size=32)


def test_params_without_a_data_section_are_no_obstacle() -> None:
    """All of it is defaults: DVC's stage would miss the section, the preparation does not."""
    Path("params.yaml").write_text("trial: {seed: 1}\n")
    assert prepare_dataset(DataParams(image_size=16)).name == "digits"
