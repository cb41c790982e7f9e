"""`pitchpipe init`: a project of one's own in a folder, with params made for the images."""

import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from project_folder import REPOSITORY, ProjectFolder

from flows.datasets.new_project import TEMPLATES, create_project
from models.config import load_params
from models.datasets.sources.detect import find_source
from models.datasets.sources.recommendation import Overview, recommend, survey
from models.errors import InputError

FEW_EPOCHS = ("--set", "search.epochs=4", "--set", "trial.schedule.warmup=1")
SMALL = (
    "--set",
    "trial.network.width=4",
    "--set",
    "search.axes={}",
    "--set",
    "trial.ema_decay=0",
)


def draw(folder: Path, *, colour: bool, side: int = 40, counts: tuple[int, ...] = (30, 30)) -> Path:
    """Class folders of noise, brighter from class to class; twice as wide as high."""
    random = np.random.default_rng(0)
    for number, count in enumerate(counts):
        (folder / f"class-{number}").mkdir(parents=True)
        for index in range(count):
            shape = (side // 2, side, 3) if colour else (side // 2, side)
            pixels = random.normal(60 + 60 * number, 20, shape).clip(0, 255).astype(np.uint8)
            Image.fromarray(pixels).save(folder / f"class-{number}" / f"{index}.png")
    return folder


@pytest.mark.parametrize(
    ("seen", "size", "epochs", "minibatch", "weights"),
    [
        # 1,239 images trained at 64 pixels: 156,000 / 1,239 = 126, of which 120 are allowed.
        (Overview(1_906, (212,) * 9, side=64, channels=3), 64, 120, 32, "none"),
        # 39,000 trained at 32 pixels, a quarter of the work: 4 x 156,000 / 39,000 = 16.
        (Overview(60_000, (6_000,) * 10, side=28, channels=1), 32, 16, 128, "none"),
        # 3,250 trained at 48 pixels: 156,000 x (64 / 48)^2 / 3,250 = 85.3.
        (Overview(5_000, (2_500, 2_500), side=50, channels=3), 48, 85, 32, "none"),
        # Photographs are larger than any size; 9:1 is out of balance; 10 epochs at the least.
        (
            Overview(1_000_000, (900_000, 100_000, 0), side=4_000, channels=3),
            64,
            10,
            128,
            "balanced",
        ),
    ],
)
def test_params_follow_number_size_and_balance(
    seen: Overview, size: int, epochs: int, minibatch: int, weights: str
) -> None:
    made = recommend(seen)

    assert (made.image_size, made.epochs) == (size, epochs)
    assert (made.minibatch_size, made.class_weights) == (minibatch, weights)
    assert made.channels == seen.channels


@pytest.mark.parametrize(("colour", "channels"), [(True, 3), (False, 1)])
def test_a_look_counts_classes_and_finds_side_and_colour(
    tmp_path: Path, *, colour: bool, channels: int
) -> None:
    source = find_source(draw(tmp_path / "photos", colour=colour, counts=(30, 10)))

    assert survey(source) == Overview(40, (30, 10), side=40, channels=channels)  # type: ignore[arg-type]


@pytest.mark.parametrize("name", ["pets", "Urlaub 2025", "日本"])
def test_a_project_without_images_has_params_that_are_valid(
    tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    project = create_project(tmp_path / name, None)

    monkeypatch.chdir(project.folder)
    assert load_params().data.name == project.dataset
    assert {*TEMPLATES, "params.yaml", "mlruns/.gitkeep"} < set(project.written)


def test_files_of_the_repository_and_of_a_new_project_are_the_same() -> None:
    templates = REPOSITORY / "flows/datasets/templates"
    shared = ("dvc.yaml", ".dvcignore", ".dvc/config", ".dvc/.gitignore", "data/.gitignore")
    for name in shared:
        assert (templates / TEMPLATES[name]).read_text() == (REPOSITORY / name).read_text(), name


def test_what_is_there_stays(tmp_path: Path) -> None:
    (tmp_path / ".gitignore").write_text("mine\n")

    project = create_project(tmp_path, None)

    assert project.kept == (".gitignore",)
    assert (tmp_path / ".gitignore").read_text() == "mine\n"


def test_unusable_folders_and_images_are_refused_before_anything_is_written(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.touch()
    (tmp_path / "old").mkdir()
    (tmp_path / "old/params.yaml").touch()
    photos = draw(tmp_path / "photos", colour=True, counts=(2, 2))
    (tmp_path / "bad/cat").mkdir(parents=True)
    (tmp_path / "bad/cat/1.png").write_bytes(b"no picture")
    before = sorted(tmp_path.rglob("*"))

    for folder, images, rule in (
        (file, None, "is a file"),
        (tmp_path / "old", None, "holds params.yaml already"),
        (photos, photos, "holds the images"),
        (tmp_path / "new", tmp_path / "none", "check the path"),
        (tmp_path / "new", tmp_path / "bad", "no image of it can be read"),
    ):
        with pytest.raises(InputError, match=rule):
            create_project(folder, images)

    assert sorted(tmp_path.rglob("*")) == before


def test_from_photos_to_a_plan_in_two_commands(tmp_path: Path) -> None:
    """Called from elsewhere: paths are the caller's."""
    draw(tmp_path / "photos", colour=False)
    outside = ProjectFolder(tmp_path)

    made = outside.pitchpipe("init", "pets", "--from", "photos", "--json")
    plan = ProjectFolder(tmp_path / "pets").pitchpipe("run", "--dry-run", *FEW_EPOCHS, "--json")

    assert (made.code, made.document["added"]["images"]) == (0, 60), made.err
    assert plan.code == 0, plan.err
    again = outside.pitchpipe("init", "pets")
    assert (again.code, again.out) == (2, "")
    assert "holds params.yaml already" in again.err


def test_images_that_fail_a_check_leave_a_project_and_the_way_to_add_them(tmp_path: Path) -> None:
    draw(tmp_path / "photos", colour=True, counts=(30, 1))

    ran = ProjectFolder(tmp_path).pitchpipe("init", "pets", "--from", "photos")

    assert ran.code == 2
    assert "few_images_below" in ran.err
    assert f"pitchpipe data add {tmp_path / 'photos'} --dataset pets" in ran.err
    assert (tmp_path / "pets/params.yaml").is_file()


@pytest.mark.slow
def test_a_wheel_is_enough(tmp_path: Path) -> None:
    """Built, unpacked, and used far from the repository: from photos to a champion."""
    for name in ("flows", "models", "pyproject.toml", "README.md", "LICENSE"):
        copy = shutil.copytree if (REPOSITORY / name).is_dir() else shutil.copy
        (tmp_path / "source").mkdir(exist_ok=True)
        copy(REPOSITORY / name, tmp_path / "source" / name)
    build = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "-w", str(tmp_path)]
    subprocess.run([*build, str(tmp_path / "source")], check=True)
    (wheel,) = tmp_path.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(tmp_path / "code")
    draw(tmp_path / "photos", colour=True, counts=(200, 200))
    where = {"PYTHONPATH": str(tmp_path / "code")}
    outside = ProjectFolder(tmp_path, where)

    made = outside.pitchpipe("init", "pets", "--from", "photos")
    ran = ProjectFolder(tmp_path / "pets", where).pitchpipe("run", *FEW_EPOCHS, *SMALL, timeout=600)

    assert made.code == 0, made.err
    assert ran.code == 0, ran.err
    assert "champion" in ran.out
