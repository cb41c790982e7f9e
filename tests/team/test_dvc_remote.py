"""DVC's remote in S3: batches go there as they are added, and a second clone gets them."""

import shutil
import subprocess
from pathlib import Path

import pytest
from data_fixtures import class_folders, command, make_project, noise
from project_folder import ProjectFolder, clean_environment
from team_servers import BUCKET, Store

pytest_plugins = ["team_servers"]
pytestmark = [pytest.mark.team, pytest.mark.timeout(900)]
PETS = ("--dataset", "pets", "--json")


def dvc(project: ProjectFolder, *words: str) -> str:
    """Run DVC as its users do."""
    environment = {**clean_environment(), **project.environment}
    ran = subprocess.run(
        [command("dvc"), *words],
        cwd=project.root,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert ran.returncode == 0, ran.stderr
    return ran.stdout


def test_a_second_clone_gets_the_batches_by_the_remote(store: Store, tmp_path: Path) -> None:
    """`data add` pushes; a clone that has only git's files pulls, byte for byte, and goes on."""
    first = ProjectFolder(make_project(tmp_path / "first"), store.keys)
    dvc(first, "remote", "add", "-d", "team", f"s3://{BUCKET}/dvc")
    added = first.pitchpipe("data", "add", str(class_folders(tmp_path / "one", noise(8))), *PETS)
    assert added.code == 0, added.err
    batch = Path(added.document["batch"])
    assert "up to date" in dvc(first, "push", "data/raw/pets.dvc")
    assert dvc(first, "status", "--cloud", "data/raw/pets.dvc").count("in sync") == 1

    second = ProjectFolder(make_project(tmp_path / "second"), store.keys)
    for name in (".dvc/config", "data/raw/pets.dvc", "data/versions.jsonl"):
        (second.root / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(first.root / name, second.root / name)
    dvc(second, "pull", "data/raw/pets.dvc")

    assert (second.root / batch).read_bytes() == (first.root / batch).read_bytes()
    status = second.pitchpipe("data", "status", *PETS)
    assert status.code == 0, status.err
    more = class_folders(tmp_path / "two", noise(8, seed=1))
    assert second.pitchpipe("data", "add", str(more), *PETS).code == 0
    shutil.copy(second.root / "data/raw/pets.dvc", first.root / "data/raw/pets.dvc")
    dvc(first, "pull", "data/raw/pets.dvc")
    assert len([*(first.root / "data/raw/pets").iterdir()]) == 2
