"""`pitchpipe data ...`: add, check, status, log, restore, as a user calls them."""

import json
import subprocess
import threading
from pathlib import Path

import pytest
import yaml
from data_fixtures import class_folders, command, make_project, noise
from dvc.repo import Repo
from pydantic import JsonValue

from flows.cli.main import app
from flows.datasets.current import prepare_dataset
from flows.datasets.dvc import cache_path
from flows.datasets.files import PREPARED, RAW
from flows.datasets.ingest import Added, add_source
from flows.datasets.restore import restore_dataset
from flows.datasets.status import dataset_status
from flows.datasets.versions import logged_versions
from flows.registry.dataset_uses import used_versions
from models.config import DataParams, InboxParams
from models.datasets.labelled_images import SPLITS
from models.datasets.prepared import open_split, read_manifest
from models.errors import InputError, IntegrityError

PETS = DataParams(name="pets")


@pytest.fixture(autouse=True)
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = make_project(tmp_path / "project")
    monkeypatch.chdir(folder)
    return folder


def add(folder: Path, *, seed: int, count: int = 40) -> Added:
    source = class_folders(folder / f"source-{seed}", noise(count, seed=seed))
    return add_source(source, PETS)


def pitchpipe(*arguments: str) -> JsonValue:
    done = subprocess.run(
        [command("pitchpipe"), *arguments], capture_output=True, text=True, check=False, timeout=120
    )
    assert done.returncode == 0, done.stderr
    document: JsonValue = json.loads(done.stdout)
    return document


def git(*arguments: str) -> None:
    subprocess.run(["git", *arguments], check=True, capture_output=True)


def dvc(*arguments: str) -> str:
    done = subprocess.run([command("dvc"), *arguments], capture_output=True, text=True, check=True)
    return done.stdout


def test_adding_images_moves_none_and_says_so(tmp_path: Path) -> None:
    """The second batch leaves every picture of the first in its split."""
    assert add(tmp_path, seed=1).moves.before == 0
    manifest = _prepared_splits()
    moves = add(tmp_path, seed=2).moves
    assert (moves.before, moves.moved) == (40, 0)
    assert manifest.items() <= _prepared_splits().items()


def _prepared_splits() -> dict[str, str]:
    prepare_dataset(PETS)
    return {
        bytes(row).hex(): split
        for split in SPLITS
        for row in open_split(PREPARED, split, verify=True).ids
    }


def test_the_log_lists_versions_newest_first(tmp_path: Path) -> None:
    """Each version with its batches and images; the digest tells them apart."""
    first, second = add(tmp_path, seed=1), add(tmp_path, seed=2)
    log = used_versions("pets", registered="pets-classifier")
    assert [version.digest for version in log] == [second.dataset.digest, first.dataset.digest]
    assert [version.images for version in log] == [80, 40]
    assert [len(version.batches) for version in log] == [2, 1]
    assert [(version.runs, version.versions) for version in log] == [((), ()), ((), ())]
    assert not Path("mlruns").exists()


@pytest.mark.parametrize("committed", [pytest.param(True, marks=pytest.mark.slow), False])
def test_a_version_comes_back_byte_for_byte(tmp_path: Path, *, committed: bool) -> None:
    """With a git commit or without: the batches, the prepared digest, and DVC is content."""
    first = add(tmp_path, seed=1)
    digest = prepare_dataset(PETS).prepared_digest
    batch = Path(first.batch).read_bytes()
    if committed:
        git("add", ".")
        git("-c", "user.name=a", "-c", "user.email=a@b", "commit", "-qm", "first")
    add(tmp_path, seed=2)
    assert prepare_dataset(PETS).prepared_digest != digest
    restored = restore_dataset(first.dataset.digest[:10], DataParams(), dataset=None)
    assert (restored.digest, restored.prepared_digest) == (first.dataset.digest, digest)
    assert {path.name: path.read_bytes() for path in (RAW / "pets").iterdir()} == {
        Path(first.batch).name: batch
    }
    assert "up to date" in dvc("status")


def test_a_lost_batch_comes_back_from_the_cache(tmp_path: Path) -> None:
    """A batch that was deleted is restored though the version is the last one."""
    first = add(tmp_path, seed=1)
    content = Path(first.batch).read_bytes()
    Path(first.batch).unlink()
    restore_dataset(first.dataset.digest, DataParams(), dataset=None)
    assert Path(first.batch).read_bytes() == content


def test_a_remote_is_pushed_to_and_restored_from(tmp_path: Path) -> None:
    """With the cache and the workspace gone, the remote has everything."""
    remote = tmp_path / "remote"
    dvc("remote", "add", "-d", "backup", str(remote))
    first = add(tmp_path, seed=1)
    md5 = logged_versions("pets")[0].batches[0].md5
    content = Path(first.batch).read_bytes()
    assert (remote / "files" / "md5" / md5[:2] / md5[2:]).read_bytes() == content
    cache_path(md5).unlink()
    Path(first.batch).unlink()
    restore_dataset(first.dataset.digest, DataParams(), dataset=None)
    assert Path(first.batch).read_bytes() == content
    assert prepare_dataset(PETS).remote == str(remote)


@pytest.mark.parametrize("fault", ["missing", "corrupted"])
def test_a_bad_cache_file_is_found_and_named(tmp_path: Path, fault: str) -> None:
    """Status names it; restore refuses and leaves the live folder; DVC would trust it."""
    first = add(tmp_path, seed=1)
    add(tmp_path, seed=2)
    path = cache_path(logged_versions("pets")[0].batches[0].md5)
    content = bytearray(path.read_bytes())
    path.unlink()
    if fault == "corrupted":
        content[100] ^= 1
        path.write_bytes(content)
        path.chmod(0o444)
    (problem,) = dataset_status(PETS, InboxParams()).problems
    assert problem.code == f"cache_{fault}"
    assert problem.where == str(path)
    Path(first.batch).unlink()
    before = sorted((RAW / "pets").iterdir())
    with pytest.raises(IntegrityError, match=path.name):
        restore_dataset(first.dataset.digest, DataParams(), dataset=None)
    assert sorted((RAW / "pets").iterdir()) == before


def test_status_says_what_changed(tmp_path: Path) -> None:
    """Batches put there, taken away or altered by hand are listed."""
    first, second = add(tmp_path, seed=1), add(tmp_path, seed=2)
    third = add(tmp_path, seed=3)
    Path(first.batch).unlink()
    Path(second.batch).write_bytes(Path(third.batch).read_bytes())
    (RAW / "pets" / "by-hand.parquet").write_bytes(Path(third.batch).read_bytes())
    status = dataset_status(PETS, InboxParams())
    assert status.removed == (Path(first.batch).name,)
    assert status.altered == (Path(second.batch).name,)
    assert status.added == ("by-hand.parquet",)


def test_an_unknown_version_is_refused(tmp_path: Path) -> None:
    """No such digest, and one that two versions begin with."""
    add(tmp_path, seed=1)
    add(tmp_path, seed=2)
    for digest in ("0123456789abcdef", ""):
        with pytest.raises(InputError, match="pitchpipe data log"):
            restore_dataset(digest, DataParams(), dataset=None)


def test_two_processes_that_add_at_once_both_succeed(tmp_path: Path) -> None:
    """Each waits for the other; both batches are tracked and logged."""
    sources = [class_folders(tmp_path / f"s{n}", noise(40, seed=n)) for n in range(2)]
    documents: list[JsonValue] = []
    threads = [
        threading.Thread(
            target=lambda path=path: documents.append(
                pitchpipe("data", "add", str(path), "--dataset", "pets", "--json")
            )
        )
        for path in sources
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(documents) == 2
    assert len(logged_versions("pets")[-1].batches) == 2
    with Repo(".") as repo:
        assert repo.status("data/raw/pets.dvc") == {}


def test_two_preparations_at_once_both_succeed(tmp_path: Path) -> None:
    """By hand, without DVC: one waits, and what a killed one left behind is gone."""
    add(tmp_path, seed=1)
    abandoned = [Path(f"data/.prepared.killed.{kind}") for kind in ("tmp", "old")]
    for folder in abandoned:
        (folder / "train").mkdir(parents=True)
    started = [
        subprocess.Popen(
            [command("pitchpipe"), "prepare", "--set", "data.name=pets", "--set", sides, "--json"],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        for sides in ("data.image_size=28", "data.image_size=32")
    ]
    digests = [json.loads(process.communicate(timeout=120)[0])["digest"] for process in started]
    assert read_manifest(PREPARED).digest in digests
    for split in SPLITS:
        open_split(PREPARED, split, verify=True)
    assert not [folder for folder in abandoned if folder.exists()]


def test_the_commands_print_the_documents_of_the_contract(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """add, check, status, log, prepare and restore, with --json and the promised keys."""

    def shown(*arguments: str, code: int = 0) -> JsonValue:
        # In this process: each import of the command line costs a second.
        assert (app(args=list(arguments), standalone_mode=False) or 0) == code
        document: JsonValue = json.loads(capsys.readouterr().out)
        return document

    source = str(class_folders(tmp_path / "photos", noise(40)))
    added = shown("data", "add", source, "--dataset", "pets", "--name", "first", "--json")
    assert isinstance(added, dict)
    assert added["batch"] == "data/raw/pets/first.parquet"
    assert added["images"] == 40
    assert added["classes"] == ["a", "b"]
    assert isinstance(added["dataset"], dict)
    assert added["dataset"].keys() >= {"digest", "dvc_md5"}
    checked = shown("data", "check", source, "--json")
    assert isinstance(checked, dict)
    assert checked["errors"] == []
    prepared = shown("prepare", "--set", "data.name=pets", "--json")
    assert isinstance(prepared, dict)
    assert prepared["digest"] == read_manifest(PREPARED).digest
    assert prepared.keys() >= {"splits", "dropped"}
    resolved = shown("prepare", "--write-params", "--set", "data.name=pets", "--json")
    assert resolved == yaml.safe_load(Path("data/prepare.yaml").read_text())
    status = shown("data", "status", "--dataset", "pets", "--json")
    assert isinstance(status, dict)
    assert status["batches"] == ["first.parquet"]
    assert status["splits"] == prepared["splits"]
    log = shown("data", "log", "--dataset", "pets", "--json")
    assert isinstance(log, list)
    assert isinstance(log[0], dict)
    assert log[0].keys() >= {"digest", "dvc_md5", "created", "images", "batches"}
    assert shown("data", "check", str(tmp_path / "nowhere"), "--json", code=2)
