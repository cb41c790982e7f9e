"""docs/extending.md: its network and its source, added as they stand there, work."""

import re
import shutil
import subprocess
import sys
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from made_once import put_databases
from project_folder import REPOSITORY, clean_environment, code_blocks, make_project
from sklearn.datasets import load_digits

PAGE = "docs/extending.md"
COMMAND = "import sys; from flows.cli.main import main; main(sys.argv[1:])"


@pytest.fixture(scope="module")
def extended(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the code with the page's files written and its diffs applied."""
    root = tmp_path_factory.mktemp("extended")
    for package in ("flows", "models"):
        ignored = shutil.ignore_patterns("__pycache__")
        shutil.copytree(REPOSITORY / package, root / package, ignore=ignored)
    for block in code_blocks("python", PAGE):
        name, _, text = block.removeprefix("# ").partition("\n")
        assert not (root / name).exists()
        (root / name).write_text(text)
    for block in code_blocks("diff", PAGE):
        name, _, changes = block.removeprefix("# ").partition("\n")
        (root / name).write_text(patched((root / name).read_text(), changes.splitlines()))
    return root


def patched(text: str, changes: list[str]) -> str:
    """Apply a diff without line numbers: `-` is replaced by the `+` after it, which else stands
    before the line that follows it.
    """
    for change, following in pairwise(changes):
        match change[0], following[0]:
            case "-", "+":
                old, new = change[1:], following[1:]
            case "+", " ":
                old, new = following[1:], f"{change[1:]}\n{following[1:]}"
            case _:
                continue
        assert text.count(f"{old}\n") == 1, old
        text = text.replace(f"{old}\n", f"{new}\n")
    return text


def pitchpipe(code: Path, project: Path, *arguments: str, **environment: str) -> str:
    """Run a command of the extended code; return what it printed."""
    done = subprocess.run(
        [sys.executable, "-P", "-c", COMMAND, *arguments],
        cwd=project,
        env={**clean_environment(), "PYTHONPATH": str(code), **environment},
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    assert done.returncode in (0, 3), done.stderr
    return done.stdout


def commands() -> list[str]:
    """Lines of the page's shell blocks."""
    return [line for block in code_blocks("sh", PAGE) for line in block.splitlines()]


def test_the_page_s_source_becomes_a_batch_and_its_network_a_version(
    extended: Path, tmp_path: Path, databases: Path, prefect_api: str
) -> None:
    """Added, trained on a grid of its own field, exported, registered, asked."""
    project = make_project(tmp_path / "project").root
    put_databases(databases, project)
    ours = {"PREFECT_API_URL": prefect_api}
    images, labels = load_digits(return_X_y=True)
    (project / "bytes").mkdir()
    for digit in range(3):
        rows = np.kron(images[labels == digit].reshape(-1, 8, 8), np.ones((1, 3, 3)))
        padded = np.pad(rows * (255 / 16), ((0, 0), (2, 2), (2, 2))).astype(np.uint8)
        padded.tofile(project / "bytes" / f"digit-{digit}.raw")
    run, add = commands()

    added = pitchpipe(extended, project, *add.split()[1:])
    words = [re.sub("^'|'$", "", word) for word in re.findall(r"'[^']*'|\S+", run)[1:]]
    trained = pitchpipe(extended, project, *words, "--set", "data.name=bytes", **ours)
    asked = pitchpipe(extended, project, "evaluate", "1", "--json", "--model", "bytes-classifier")

    assert "537 images of 3 classes" in added
    assert "blocks" in trained
    assert '"accuracy"' in asked
    assert (project / "data/raw/bytes").is_dir()


def test_the_table_names_files_and_tables_that_exist() -> None:
    """Every path of the page is there, and every table is in the file that it is said to be in."""
    text = (REPOSITORY / PAGE).read_text(encoding="utf-8")
    tables = re.findall(r"`(\w+)` in `([\w/]+\.py)`", text)

    assert len(tables) >= 6
    for name, file in tables:
        assert re.search(rf"\b{name}\b", (REPOSITORY / file).read_text(encoding="utf-8")), file
    for path in re.findall(r"`((?:models|flows|tests)/[\w/.]*)`", text):
        assert (REPOSITORY / path).exists() or path in written(), path


def written() -> set[str]:
    """Files that the page's blocks write."""
    return {block.removeprefix("# ").split("\n")[0] for block in code_blocks("python", PAGE)}
