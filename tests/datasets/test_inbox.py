"""The inbox: whole deliveries become batches once, bad ones are set aside, kills lose nothing."""

import errno
import json
import os
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from data_fixtures import class_folders, make_project, noise, save_png

from flows.datasets import deliveries, inbox, ingest
from flows.datasets.deliveries import InboxState, delivery_digest, inbox_state
from flows.datasets.dvc import tracked_md5
from flows.datasets.files import RAW
from flows.datasets.inbox import Taken, take_deliveries
from flows.datasets.versions import logged_versions
from models.config import DataParams, InboxParams
from models.datasets.batches import read_batch, read_piece
from models.datasets.labelled_images import EncodedRows
from models.datasets.raw import batch_files
from models.datasets.reading import decode_rows
from models.errors import PitchpipeError

PETS = DataParams(name="pets", image_size=8)
AT_ONCE = InboxParams(settle_seconds=0)
INBOX = Path("data/inbox/pets")


Command = Callable[[str], subprocess.CompletedProcess[str]]


class Killed(BaseException):
    """The process died here."""


@pytest.fixture(autouse=True)
def _project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(make_project(tmp_path / "project", git=False))
    INBOX.mkdir(parents=True)


def take() -> Taken:
    return take_deliveries(PETS, AT_ONCE)


def deliver(name: str = "Monday's photos", seed: int = 0, count: int = 8) -> Path:
    """A good delivery: two classes of different pictures."""
    return class_folders(INBOX / name, noise(count, seed=seed))


def below(folder: Path) -> list[str]:
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*"))


def entries(folder: str) -> list[str]:
    return sorted(path.name for path in Path(folder).iterdir()) if Path(folder).exists() else []


def test_a_delivery_becomes_a_versioned_batch() -> None:
    """Named by itself and its content; tracked by DVC; kept as it came, outside of the inbox."""
    files = below(deliver())
    digest = delivery_digest(INBOX / "Monday's photos")
    [added] = take().added
    name = f"monday-s-photos-{digest[:12]}"
    assert (added.batch, added.images, added.is_new) == (f"data/raw/pets/{name}.parquet", 8, True)
    assert read_batch(Path(added.batch)).classes == ("a", "b")
    [version] = logged_versions("pets")
    assert version.dvc_md5 == tracked_md5("pets") is not None
    assert below(Path("data/taken/pets") / name) == files
    assert below(INBOX) == [".taking"]
    again = take()
    assert (again.added, again.quarantined, again.arriving) == ((), (), ())


def test_the_same_images_delivered_again_add_nothing() -> None:
    """Under another name, later: the batch is there, and the delivery is put away."""
    deliver()
    take()
    deliver("again")
    [again] = take().added
    assert not again.is_new
    assert len(batch_files(RAW / "pets")) == len(logged_versions("pets")) == 1
    assert len(entries("data/taken/pets")) == 2


STEPS: dict[str, Callable[[pytest.MonkeyPatch], None]] = {
    "moved aside": lambda patch: patch.setattr(inbox, "delivery_digest", killed),
    "batch half written": lambda patch: patch.setattr(ingest, "_move", killed),
    "batch placed": lambda patch: patch.setattr(ingest, "_move", placed_and_killed),
    "tracked": lambda patch: patch.setattr(ingest, "log_version", killed),
    "logged": lambda patch: patch.setattr(ingest, "push", killed),
    "put away next": lambda patch: patch.setattr(inbox, "move", killed),
}


def killed(*_: object) -> None:
    raise Killed


def placed_and_killed(built: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    built.rename(target)
    raise Killed


@pytest.mark.parametrize("step", STEPS)
def test_killed_at_any_step_it_is_added_once(step: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The next call goes on: one batch, one version, tracked; nothing lost, nothing doubled."""
    files = below(deliver())
    with monkeypatch.context() as patch:
        STEPS[step](patch)
        with pytest.raises(Killed):
            take()
    assert inbox_state("pets", AT_ONCE).waiting == ("Monday's photos",)
    [added] = take().added
    assert added.images == 8
    assert len(batch_files(RAW / "pets")) == 1
    [version] = logged_versions("pets")
    assert version.dvc_md5 == tracked_md5("pets") is not None
    [put_away] = entries("data/taken/pets")
    assert below(Path("data/taken/pets") / put_away) == files
    assert below(INBOX) == [".taking"]


@pytest.mark.parametrize("step", ["report", "move"])
def test_a_quarantine_broken_off_is_done_once_more(
    step: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One folder holds the delivery and its report, whenever the process was killed."""
    save_png(INBOX / "loose" / "cat.png", noise(1)[0])
    with monkeypatch.context() as patch:
        patch.setattr(inbox, "move" if step == "move" else "write_text", killed)
        with pytest.raises(Killed):
            take()
    [bad] = take().quarantined
    assert entries("data/quarantine") == [Path(bad.place).name]
    assert below(Path(bad.place)) == sorted(
        ["delivery", "delivery/loose", "delivery/loose/cat.png", "report.json", "report.txt"]
    )


def broken_image() -> None:
    deliver("bad")
    (INBOX / "bad/a/broken.png").write_bytes(b"not an image")


def outward_link() -> None:
    deliver("bad")
    (INBOX / "bad/a/passwd.png").symlink_to("/etc/passwd")


def link_itself() -> None:
    Path("elsewhere").mkdir()
    (INBOX / "bad").symlink_to(Path("elsewhere").absolute())


def fifo() -> None:
    deliver("bad")
    os.mkfifo(INBOX / "bad/a/pipe.png")


def archive() -> None:
    with zipfile.ZipFile(INBOX / "bad.zip", "w") as file:
        file.writestr("../../escaped.png", b"x")


def one_image() -> None:
    save_png(INBOX / "bad.png", noise(1)[0])


def torn_parquet() -> None:
    (INBOX / "bad.parquet").write_bytes(b"PAR1 torn")


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (broken_image, "cannot be decoded"),
        (outward_link, "is a link"),
        (link_itself, "is a link"),
        (fifo, "is no regular file"),
        (archive, "is an archive"),
        (one_image, "is one image"),
        (torn_parquet, "bad.parquet"),
    ],
)
def test_a_bad_delivery_is_quarantined_whole(make: Callable[[], None], message: str) -> None:
    """With a report for people and programs; the good one beside it is added."""
    make()
    deliver("good", seed=1)
    [delivery] = [path for path in INBOX.iterdir() if path.name.startswith("bad")]
    held = below(INBOX)
    taken = take()
    assert [one.delivery for one in taken.added] == ["good"]
    [bad] = taken.quarantined
    place = Path(bad.place)
    assert message in " ".join(one.message for one in bad.errors)
    assert message in (place / "report.txt").read_text()
    assert json.loads((place / "report.json").read_text())["digest"] == bad.digest
    moved = {name for name in held if name.startswith(delivery.name)}
    assert set(below(place / "delivery")) == moved
    assert len(batch_files(RAW / "pets")) == 1
    assert not Path("data/escaped.png").exists()
    assert not list(Path().rglob("escaped.png"))


def test_what_is_still_arriving_is_left(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whole is what did not change for settle_seconds; empty, hidden and unfinished names wait."""
    waiting = InboxParams(settle_seconds=30)
    for name in ("half", ".hidden", "upload.part"):
        deliver(name)
    (INBOX / "empty").mkdir()
    assert take_deliveries(PETS, waiting).arriving == ("empty", "half")
    assert len(below(INBOX / "half")) == 10
    clock = [deliveries.now() + 31]
    monkeypatch.setattr(deliveries, "now", lambda: clock[0])
    assert inbox_state("pets", waiting) == InboxState(
        ("half",), ("empty",), (), path="data/inbox/pets"
    )
    clock[0] -= 2  # as if its last file had been written two seconds later
    assert inbox_state("pets", waiting).waiting == ()
    clock[0] += 2
    assert [one.delivery for one in take_deliveries(PETS, waiting).added] == ["half"]
    assert entries(INBOX.as_posix()) == [".hidden", ".taking", "empty", "upload.part"]


def test_a_fault_of_ours_is_no_fault_of_the_delivery(monkeypatch: pytest.MonkeyPatch) -> None:
    """A full disk quarantines nothing: the delivery waits and is added when there is room."""
    deliver()

    def full(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(ingest, "ingest", full)
        with pytest.raises(PitchpipeError, match="No space left"):
            take()
    assert entries("data/quarantine") == []
    with monkeypatch.context() as patch:
        patch.setattr(Path, "rename", full)
        with pytest.raises(PitchpipeError, match="No space left"):
            take()
    assert len(take().added) == 1


def test_an_inbox_on_another_file_system(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where a rename cannot reach data/, it is a copy that is whole before it has its name."""
    deliver()
    rename = Path.rename

    def across(path: Path, target: Path) -> Path:
        if ".taking" in path.parts and "data/taken" in str(target):
            raise OSError(errno.EXDEV, "Invalid cross-device link")
        return rename(path, target)

    monkeypatch.setattr(Path, "rename", across)
    assert len(take().added) == 1
    [put_away] = entries("data/taken/pets")
    assert len(below(Path("data/taken/pets") / put_away)) == 10
    assert below(INBOX) == [".taking"]


def test_delivered_before_it_was_ever_used_a_dataset_keeps_its_own_images() -> None:
    """The digits ingest themselves first: a delivery adds to them, and replaces nothing."""
    digits = DataParams(name="digits")
    folder = Path("data/inbox/digits/new")
    for number, pixels in enumerate(noise(10)):
        save_png(folder / str(number) / "x.png", pixels)
        save_png(folder / str(number) / "y.png", 255 - pixels)
    [added] = take_deliveries(digits, AT_ONCE).added
    assert added.images == 20
    assert len(batch_files(RAW / "digits")) == 2


def test_the_digest_is_of_content_and_inner_names(tmp_path: Path) -> None:
    """Another name for the whole keeps it; another byte or another inner name changes it."""
    one = class_folders(tmp_path / "one", noise(4))
    shutil.copytree(one, tmp_path / "two")
    assert delivery_digest(one) == delivery_digest(tmp_path / "two")
    (tmp_path / "two/a/00000.png").rename(tmp_path / "two/a/renamed.png")
    assert delivery_digest(one) != delivery_digest(tmp_path / "two")


def test_the_command_and_the_status(
    project_command: Command,
) -> None:
    """`data status` tells of what waits, `data inbox` takes it, with one JSON document."""
    deliver("good")
    one_image()
    waiting = json.loads(project_command("status").stdout)["inbox"]
    assert waiting["path"] == "data/inbox/pets"
    assert sorted(waiting["waiting"]) == ["bad.png", "good"]
    document = json.loads(project_command("inbox").stdout)
    assert [one["images"] for one in document["added"]] == [8]
    assert [one["delivery"] for one in document["quarantined"]] == ["bad.png"]
    assert document["arriving"] == []
    assert document["dataset"]["dvc_md5"]
    after = json.loads(project_command("status").stdout)["inbox"]
    assert after["waiting"] == []
    assert len(after["quarantined"]) == 1


@pytest.fixture
def project_command() -> Command:
    """`pitchpipe data ... --json` for pets, whose deliveries are whole at once."""

    def run(name: str) -> subprocess.CompletedProcess[str]:
        options = ["--dataset", "pets", "--set", "inbox.settle_seconds=0", "--json"]
        command = [str(Path(sys.executable).parent / "pitchpipe"), "data", name, *options]
        return subprocess.run(command, capture_output=True, text=True, check=True)

    return run


def test_the_images_are_those_delivered() -> None:
    """Pixel for pixel, in the batch."""
    deliver()
    [added] = take().added
    rows = read_piece(read_batch(Path(added.batch)), 0)
    assert isinstance(rows, EncodedRows)
    found = {image.tobytes() for image in decode_rows(rows)}
    assert found == {np.ascontiguousarray(image).tobytes() for image in noise(8)}
