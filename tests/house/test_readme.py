"""The README is code: each of its commands runs, and so does every shipped params file."""

import re
import shlex
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from project_folder import (
    REPOSITORY,
    ProjectFolder,
    clean_environment,
    code_blocks,
    make_project,
)

README = (REPOSITORY / "README.md").read_text(encoding="utf-8")
SMALL = ("data.limit=150", "search.epochs=1", "trial.network.channels=[4, 4, 4]")
"""What makes an example a matter of seconds; its grid stays whole."""
FASHION_MNIST = Path("/usr/share/datasets/fashion-mnist")


def commands() -> list[list[str]]:
    """Lines of the shell blocks as words, without comments."""
    lines = [line for block in code_blocks("sh") for line in block.splitlines()]
    return [words for line in lines if (words := shlex.split(line, comments=True))]


@pytest.fixture(scope="module", params=[False, pytest.param(True, marks=pytest.mark.slow)])
def folder(
    tmp_path_factory: pytest.TempPathFactory, prefect_api: str, request: pytest.FixtureRequest
) -> ProjectFolder:
    """A project beside a folder of photos, and one Prefect server for all its runs.

    Commands are forked where all is imported; in `make test-slow` they are cold.
    """
    root = tmp_path_factory.mktemp("readme") / "project"
    project = make_project(root, {"PREFECT_API_URL": prefect_api})
    shutil.copytree(REPOSITORY / "examples", root / "examples")
    draw_photos(root / "photos")
    return replace(project, cold=request.param)


def draw_photos(folder: Path) -> None:
    """Two classes of colour noise that a small network tells apart."""
    random = np.random.default_rng(0)
    for name, brightness in (("day", 190), ("night", 60)):
        (folder / name).mkdir(parents=True)
        for number in range(200):
            pixels = random.normal(brightness, 25, (32, 32, 3)).clip(0, 255).astype(np.uint8)
            Image.fromarray(pixels).save(folder / name / f"{number}.png")


def test_the_readme_is_short() -> None:
    """A newcomer reads it to the end."""
    assert len(README.splitlines()) <= 150


@pytest.mark.timeout(900)
def test_every_command_of_the_readme_runs(folder: ProjectFolder) -> None:
    """In its order; a run may end unpromoted (3), which is no failure."""
    assert len(commands()) >= 15
    for words in map(without_make, commands()):
        ran = folder.pitchpipe(*words[1:], *shrunk(words), timeout=300)
        allowed = (0, 3) if words[1] == "run" else (0,)
        assert ran.code in allowed, (words, ran.err)
        assert "Traceback" not in ran.err


def without_make(words: list[str]) -> list[str]:
    """The command behind `make run`; of other verbs it is enough that the Makefile knows them."""
    if words[0] != "make":
        return words
    check_verb(words[1])
    return ["pitchpipe", "run"] if words[1] == "run" else ["pitchpipe", "--help"]


def shrunk(words: list[str]) -> list[str]:
    """Options that make a run short without changing what the README says of it."""
    if words[1] == "explain":
        return ["--images", "3"]
    if words[1] != "run" or "--dry-run" in words:
        # tests/labels trains the folds of a triage
        return ["--dry-run"] if words[1:3] == ["data", "triage"] else []
    if "--params" not in words:
        return ["--set", "trial.network.channels=[8, 8, 8]"]
    if "networks" in words[3]:
        return [word for pair in SMALL[:2] for word in ("--set", pair)]
    if "own_images" in words[3]:
        small = ("search.epochs=1", "trial.network.width=4", "data.image_size=32")
        return [word for pair in small for word in ("--set", pair)]
    return [word for pair in SMALL for word in ("--set", pair)]


def check_verb(verb: str) -> None:
    """The Makefile knows the verb."""
    dry = subprocess.run(
        ["make", "--dry-run", verb], cwd=REPOSITORY, capture_output=True, text=True, check=False
    )
    assert dry.returncode == 0, dry.stderr


def test_the_python_of_the_readme_runs_where_pitchpipe_is_not_imported(
    folder: ProjectFolder,
) -> None:
    """Three images in, three rows of probabilities out."""
    (code,) = code_blocks("python")
    ran = subprocess.run(
        [sys.executable, "-c", f"{code}\nprint(probabilities.shape)"],
        cwd=folder.root,
        env=clean_environment(),
        capture_output=True,
        text=True,
        check=False,
    )

    assert ran.returncode == 0, ran.stderr
    assert ran.stdout.splitlines()[-1] == "(3, 10)"


def test_every_example_is_a_command_of_the_readme() -> None:
    """A shipped params file that nothing runs would rot; test_ladder_page.py runs the emoji's."""
    named = {words[3] for words in commands() if words[:3] == ["pitchpipe", "run", "--params"]}

    shipped = {f"examples/{path.name}" for path in REPOSITORY.glob("examples/*.yaml")}

    assert shipped == named | {"examples/emoji.yaml"}


@pytest.mark.slow
@pytest.mark.timeout(1500)
def test_make_run_in_a_clean_clone_ends_in_a_champion(tmp_path: Path) -> None:
    """The first command sets up and promotes; a second one is a no-op, by another path, too, and
    after the tools were installed. In a folder whose name a shell would take apart (without a
    dollar: the scripts that pip writes have the interpreter's path in double quotes).
    """
    clone, link = tmp_path / "it's a (2nd) one; #1" / "clo ne", tmp_path / "a link"
    subprocess.run(["git", "clone", "--quiet", REPOSITORY, clone], check=True)
    link.symlink_to(clone)

    first = make(link, "run")
    second = make(clone, "run")
    third = make(clone, "lint", "run")

    assert first.returncode == 0, first.stderr
    assert "PROMOTE: digits-classifier version 1" in first.stdout
    (promised,) = re.findall(r"^\| digits \| `make run` \| ([\d.]+)", README, flags=re.MULTILINE)
    (found,) = re.findall(
        r"^Test, the selected trial: accuracy ([\d.]+)", first.stdout, re.MULTILINE
    )
    assert float(found) == pytest.approx(float(promised), abs=0.03)  # other machines, other bits
    for again in (second, third):
        assert again.returncode == 0, again.stderr
        assert "Nothing to do" in again.stdout
    assert "pip install" not in second.stdout
    assert "'.[dev]'" in third.stdout


def make(folder: Path, *verbs: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(["make", *verbs], cwd=folder, capture_output=True, text=True, check=False)
