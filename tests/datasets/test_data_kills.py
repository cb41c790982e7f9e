"""Data under kills: batches are never lost, downloads are kept, fresh digests are not trusted."""

from pathlib import Path

import pytest
from data_fixtures import make_project

from flows.datasets import files
from flows.datasets.files import RAW, STAGING, batch_digests, building, data_lock, replace_dataset


class Killed(BaseException):
    """The process died here."""


@pytest.fixture(autouse=True)
def _project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(make_project(tmp_path / "project"))
    (RAW / "pets").mkdir()
    (RAW / "pets/a.parquet").write_bytes(b"only here, not in any cache")


def replace_killed(monkeypatch: pytest.MonkeyPatch, *, at: int) -> None:
    """Replace the dataset in a process that dies before its rename of that number."""
    renamed = 0
    rename = Path.rename

    def dying(path: Path, target: Path) -> Path:
        nonlocal renamed
        renamed += 1
        if renamed > at:
            raise Killed
        return rename(path, target)

    new = STAGING / "building-dead" / "pets"
    new.mkdir(parents=True)
    (new / "b.parquet").write_bytes(b"restored")
    with monkeypatch.context() as patch:
        patch.setattr(Path, "rename", dying)
        patch.setattr("shutil.rmtree", lambda *_, **__: None)
        if at < 2:
            with pytest.raises(Killed):
                replace_dataset(new, "pets")
        else:
            replace_dataset(new, "pets")


@pytest.mark.parametrize(("at", "left"), [(0, "a"), (1, "a"), (2, "b")])
def test_a_restore_killed_anywhere_leaves_one_whole_dataset(
    monkeypatch: pytest.MonkeyPatch, at: int, left: str
) -> None:
    """The next command puts the old one back unless the new one is in its place."""
    replace_killed(monkeypatch, at=at)
    with data_lock():
        assert [path.name for path in (RAW / "pets").iterdir()] == [f"{left}.parquet"]
    assert list(STAGING.glob("*")) == []
    assert not files.REPLACED.exists()


def test_downloads_are_not_removed_by_a_build() -> None:
    """Another dataset's batch is built beside them."""
    (STAGING / "fashion-mnist").mkdir(parents=True)
    (STAGING / "fashion-mnist/placed.gz").write_bytes(b"by hand")
    with data_lock(), building() as folder:
        (folder / "batch").write_bytes(b"half")
    assert [path.name for path in STAGING.iterdir()] == ["fashion-mnist"]
    assert (STAGING / "fashion-mnist/placed.gz").exists()


def test_only_settled_digests_are_remembered(monkeypatch: pytest.MonkeyPatch) -> None:
    """An older batch beside a fresh one does not have the fresh one's digest remembered."""
    fresh = RAW / "pets/b.parquet"
    fresh.write_bytes(b"fresh")
    monkeypatch.setattr(files, "_is_settled", lambda path: path != fresh)
    assert len(batch_digests("pets")) == 2
    remembered = Path("data/.digests.json").read_text()
    assert "a.parquet" in remembered
    assert "b.parquet" not in remembered
