"""Whatever is wrong with a source: one clear message, exit 2, and data/ as it was before."""

import errno
import logging
import os
import re
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from bad_inputs import BAD_INPUTS, Maker
from data_fixtures import class_folders, make_project, noise
from dvc.exceptions import FileTransferError

from flows.datasets import dvc, ingest
from flows.datasets.files import RAW
from flows.datasets.ingest import Added, add_source, check_source
from models.config import DataParams
from models.datasets.batches import read_batch, read_piece
from models.datasets.sources.detect import find_source
from models.errors import PitchpipeError

PETS = DataParams(name="pets")


@pytest.fixture(autouse=True)
def _project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(make_project(tmp_path / "project", git=False))


def contents() -> dict[str, bytes]:
    """Every file of data/ but for the lock and the memory of digests, which may appear any time."""
    files = (path for path in Path("data").rglob("*") if path.is_file())
    passing = (".lock", ".digests.json")
    return {str(path): path.read_bytes() for path in files if not path.name.endswith(passing)}


def add(path: Path) -> Added:
    return add_source(path, PETS)


def refused(path: Path, *, code: int = 2) -> PitchpipeError:
    before = contents()
    with pytest.raises(PitchpipeError) as caught:
        add(path)
    assert caught.value.exit_code == code
    assert contents() == before
    assert not Path("data/.staging").exists()
    return caught.value


def test_there_are_at_least_sixty_bad_inputs() -> None:
    """The promise of the documentation."""
    assert len(BAD_INPUTS) >= 60


@pytest.mark.parametrize(("maker", "message"), BAD_INPUTS.values(), ids=BAD_INPUTS)
def test_a_bad_input_is_refused_whole(tmp_path: Path, maker: Maker, message: str) -> None:
    """`data add` exits 2 with one message, `data check` reports an error, nothing is written."""
    (tmp_path / "given").mkdir()
    path = maker(tmp_path / "given")
    assert re.search(message, str(refused(path)))
    assert check_source(path, PETS).errors


def test_every_damaged_file_is_named_at_once(tmp_path: Path) -> None:
    """Three bad files are three findings of one report, not three attempts."""
    class_folders(tmp_path / "given", noise(8))
    for name in ("x", "y", "z"):
        (tmp_path / "given" / "a" / f"{name}.png").write_text("no image")
    report = check_source(tmp_path / "given", PETS)
    assert [(f.code, f.where) for f in report.errors] == [
        ("unreadable", f"a/{name}.png") for name in ("x", "y", "z")
    ]
    assert str(refused(tmp_path / "given")).count(".png: cannot be decoded") == 3


def test_an_unreadable_file_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Permission denied, which root never meets, is injected at the read."""
    class_folders(tmp_path / "given", noise(8))
    read = Path.read_bytes

    def deny(path: Path) -> bytes:
        if path.name == "00004.png":
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(path))
        return read(path)

    monkeypatch.setattr(Path, "read_bytes", deny)
    assert re.search(r"a/00004\.png: Permission denied", str(refused(tmp_path / "given")))


def test_unreadable_files_can_be_left_out_and_are_reported(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """--skip-bad: damaged files and those that may not be read; the good ones are the batch."""
    class_folders(tmp_path / "given", noise(8))
    (tmp_path / "given" / "a" / "x.png").write_text("no image")
    (tmp_path / "given" / "b" / "y.png").write_bytes(b"")
    read = Path.read_bytes

    def deny(path: Path) -> bytes:
        if path.name == "00004.png":
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(path))
        return read(path)

    monkeypatch.setattr(Path, "read_bytes", deny)
    message = str(refused(tmp_path / "given"))
    assert message.endswith("`pitchpipe data add --skip-bad` leaves unreadable files out")
    assert message.count(".png: ") == 3

    added = add_source(tmp_path / "given", PETS, skip_bad=True)

    skipped = {one.where: one.message for one in added.warnings if one.code == "skipped"}
    assert list(skipped) == ["a/00004.png", "a/x.png", "b/y.png"]
    assert all(message.endswith("; left out") for message in skipped.values())
    assert "Permission denied" in skipped["a/00004.png"]
    assert added.images == 7
    paths = read_piece(read_batch(Path(added.batch)), 0).paths  # type: ignore[union-attr]
    assert set(skipped).isdisjoint(paths)


def test_a_folder_of_bad_files_alone_is_refused_all_the_same(tmp_path: Path) -> None:
    """There is nothing that could be added."""
    class_folders(tmp_path / "given", noise(2))
    for image in (tmp_path / "given").rglob("*.png"):
        image.write_text("no image")
    with pytest.raises(PitchpipeError, match="holds no readable images"):
        add_source(tmp_path / "given", PETS, skip_bad=True)


def test_a_file_that_disappears_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file that is gone between the listing and the reading stops the adding."""
    class_folders(tmp_path / "given", noise(8))
    source = find_source(tmp_path / "given")
    (tmp_path / "given" / "b" / "00005.png").unlink()
    monkeypatch.setattr(ingest, "find_source", lambda *_, **__: source)
    assert re.search(r"b/00005\.png: No such file", str(refused(tmp_path / "given")))


def test_a_full_disk_leaves_nothing_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No space left while the batch is written: said so, and data/ is as it was."""
    class_folders(tmp_path / "given", noise(8))

    def fail(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(pq.ParquetWriter, "write_table", fail)
    said = str(refused(tmp_path / "given", code=1))  # the images are right

    assert "No space left on device; nothing was added" in said


@pytest.mark.parametrize("before", [None, "outs:\n- md5: abc.dir\n  path: pets\n"])
def test_a_failure_of_dvc_leaves_its_file_as_it_was(
    before: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On a full disk it leaves an empty one, which every later command would refuse."""
    path = RAW / "pets.dvc"
    if before is not None:
        path.write_text(before)

    def fail(*_: object) -> None:
        path.write_bytes(b"")
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr("dvc.repo.Repo.add", fail)
    with pytest.raises(PitchpipeError, match="No space left on device; free space"):
        dvc.track("pets")

    assert (path.read_text() if path.exists() else None) == before


def test_what_dvc_logs_of_a_full_disk_is_the_cause_and_is_said_once(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """It logs each file that was not transferred, and raises their number alone."""

    def fail(*_: object) -> None:
        full = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        logging.getLogger("dvc_data.hashfile.transfer").error("failed to transfer", exc_info=full)
        raise FileTransferError(1)

    monkeypatch.setattr("dvc.repo.Repo.add", fail)
    with pytest.raises(PitchpipeError, match=r"1 files failed.*No space left on device; free"):
        dvc.track("pets")

    assert "failed to transfer" not in "".join(capfd.readouterr())


def test_a_failure_of_dvc_takes_the_batch_out_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where DVC cannot track it, no untracked batch remains."""
    class_folders(tmp_path / "given", noise(8))

    def fail(name: str) -> None:
        raise PitchpipeError(f"DVC: cannot add {name}")

    monkeypatch.setattr(ingest, "track", fail)
    before = contents()
    with pytest.raises(PitchpipeError, match="DVC: cannot add pets"):
        add(tmp_path / "given")
    assert contents() == before


def test_a_batch_is_never_rewritten(tmp_path: Path) -> None:
    """Other images under a name that is taken are refused; the same ones again are no change."""
    class_folders(tmp_path / "one", noise(8))
    class_folders(tmp_path / "two", noise(8, seed=1))
    added = add_source(tmp_path / "one", PETS, name="first")
    before = contents()
    with pytest.raises(PitchpipeError, match="batches never change; choose --name"):
        add_source(tmp_path / "two", PETS, name="first")
    again = add_source(tmp_path / "one", PETS, name="first")
    assert again.dataset == added.dataset
    assert "already_added" in [finding.code for finding in again.warnings]
    assert contents() == before


@pytest.mark.parametrize("name", ["../x", "A", "", "a b", "x" * 65])
def test_a_batch_has_a_plain_name(tmp_path: Path, name: str) -> None:
    """Names that could leave the folder, or differ in case only, are refused."""
    class_folders(tmp_path / "given", noise(8))
    with pytest.raises(PitchpipeError, match="lower-case letters, digits and hyphens"):
        add_source(tmp_path / "given", PETS, name=name)
