"""A real version that was tampered with, on its way through the commands: nothing in it is run."""

import hashlib
import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from archive_crafting import MARKER, RUN, Members, crafted, members_of, packed
from project_folder import ProjectFolder, Ran

from flows.registry import packing
from flows.tracking.store import open_tracking
from flows.versions.transfer import ExportIndex
from models.digests import digest_of

NAME, ARCHIVE = "digits-classifier", "model/data/model.pt2"
REFUSED = "is more than an exported network"


@pytest.fixture(scope="module")
def champion(
    retrained: tuple[ProjectFolder, Ran], tmp_path_factory: pytest.TempPathFactory
) -> tuple[ProjectFolder, Path]:
    """A copy of a project with a champion of the digits, and the champion's export."""
    root = tmp_path_factory.mktemp("tampered") / "project"
    shutil.copytree(retrained[0].root, root)
    folder, file = ProjectFolder(root), root.parent / "digits.zip"
    ran = folder.pitchpipe("export", "champion", str(file))
    assert ran.code == 0, ran.err
    return folder, file


def signed_anew(members: Members, archive: bytes) -> Members:
    """An export with another network, whose digests are all right."""
    given = {name: content for name, content in members.items() if name != "export.json"}
    given[ARCHIVE] = archive
    checksums = {name: hashlib.sha256(content).hexdigest() for name, content in given.items()}
    files = {
        name.removeprefix("model/"): digest
        for name, digest in checksums.items()
        if name.startswith("model/")
    }
    index = json.loads(members["export.json"])
    index |= {
        "checksums": checksums,
        "tags": index["tags"] | {"model.digest": digest_of({**files})},
    }
    sealed = ExportIndex.model_validate_json(json.dumps(index)).sealed()
    return given | {"export.json": sealed.model_dump_json(by_alias=True).encode()}


@pytest.mark.parametrize("vector", ["size", "guard"])
def test_importing_it_runs_nothing_and_registers_nothing(
    champion: tuple[ProjectFolder, Path], vector: str
) -> None:
    """All digests are right: one message with the file's name, exit code 1, no version."""
    folder, file = champion
    members = members_of(file.read_bytes())
    evil = file.with_name("evil.zip")
    evil.write_bytes(packed(signed_anew(members, crafted(members[ARCHIVE], RUN[vector]))))
    ran = folder.pitchpipe("import", str(evil))
    assert ran.code == 1
    assert REFUSED in ran.err
    assert "evil.zip" in ran.err
    assert "Traceback" not in ran.err
    assert len(json.loads(folder.pitchpipe("versions", "--json").out)) == 1
    assert not (folder.root / MARKER).exists()


@pytest.fixture(scope="module")
def tampered(champion: tuple[ProjectFolder, Path]) -> ProjectFolder:
    """The project after somebody changed the champion's files, and its tag to go with them."""
    folder, _ = champion
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder.root)
        patch.setenv("MLFLOW_TRACKING_URI", "sqlite:///mlruns/mlflow.db")
        tracking = open_tracking(NAME)
        [directory] = [path.parent for path in Path("mlruns/artifacts").rglob("MLmodel")]
        path = directory / "data/model.pt2"
        path.write_bytes(crafted(path.read_bytes(), RUN["size"]))
        digest = packing.files_digest(directory)
        tracking.client.set_model_version_tag(NAME, "1", "model.digest", digest)
    return folder


@pytest.mark.parametrize(
    "command",
    [
        ("promote", "1"),
        ("predict", "data/raw/digits", "--version", "1"),
        ("serve", "--version", "1"),
        ("evaluate", "1"),
        ("monitor", "data/raw/digits"),
        ("rollback", "--to", "1"),
        ("export", "1", "again.zip"),
        ("reproduce", "1"),
    ],
    ids=lambda command: command[0],
)
def test_no_command_runs_what_a_version_brings(
    tampered: ProjectFolder, command: tuple[str, ...]
) -> None:
    """Who could write the files and the tag still has nothing executed; exit code 1."""
    ran = tampered.pitchpipe(*command)
    assert ran.code == 1, ran.err
    assert REFUSED in ran.err
    assert "Traceback" not in ran.err
    assert not (tampered.root / MARKER).exists()


@pytest.fixture
def imported(champion: tuple[ProjectFolder, Path]) -> Callable[[], Ran]:
    folder, file = champion
    return lambda: folder.pitchpipe("import", str(file), "--model", "arrived", "--json")


def test_the_sound_version_arrives_and_serves_its_purpose(
    champion: tuple[ProjectFolder, Path], imported: Callable[[], Ran]
) -> None:
    """The same file, untouched: registered, and it predicts."""
    folder, _ = champion
    ran = imported()
    assert ran.code == 0, ran.err
    assert (ran.document["name"], ran.document["version"]) == ("arrived", 1)
    asked = ("predict", "data/raw/digits", "--version", "1", "--model", "arrived", "--json")
    rows = folder.pitchpipe(*asked).document
    assert len(rows) == 1797
    assert all(row["label"] in "0123456789" for row in rows)
