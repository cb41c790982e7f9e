"""docs/ladder.md is code: each of its params files runs, the drawings' on a package made here."""

import io
import json
import re
import shlex
import shutil
import subprocess
import sys
import tarfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from project_folder import REPOSITORY, ProjectFolder, make_project, overrides

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]

PAGE = (REPOSITORY / "docs/ladder.md").read_text(encoding="utf-8")
SMALL = ("data.limit=120", "search.epochs=1", "data.checks.few_images=off")
NARROW = {
    "mlp": ("trial.network.hidden_units=8",),
    "rnn": ("trial.network.hidden_units=4",),
    "cnn_small": ("trial.network.width=4",),
    "hour": ("trial.network.width=4",),
    "emoji": ("trial.network.width=4", "data.image_size=32", "search.baselines=false"),
}
"""Name of a file in examples -> what makes its network one of seconds."""
CLASSES = ("Objects", "Flags", "Component")


@pytest.fixture
def folder(tmp_path: Path, prefect_api: str) -> ProjectFolder:
    """A project with the examples, and a Prefect server for all its runs."""
    made = make_project(tmp_path / "project", {"PREFECT_API_URL": prefect_api})
    shutil.copytree(REPOSITORY / "examples", made.root / "examples")
    return made


def commands() -> list[list[str]]:
    """Lines of the shell blocks as words, without comments."""
    blocks = re.findall(r"```sh\n(.*?)```", PAGE, flags=re.DOTALL)
    return [shlex.split(line, comments=True) for line in "".join(blocks).splitlines()]


def write_package(path: Path) -> None:
    """Write a package like emoji-datasource-STYLE: 12 symbols a class, two variants each."""
    random = np.random.default_rng(0)
    with tarfile.open(path, "w:gz") as archive:
        symbols = []
        for number in range(12 * len(CLASSES)):
            files = [f"{number:04x}.png", f"{number:04x}-1f3fb.png"]
            symbols.append(
                {
                    "category": CLASSES[number % len(CLASSES)],
                    "unified": f"{number:04X}",
                    "image": files[0],
                    "skin_variations": {"1F3FB": {"image": files[1]}},
                }
            )
            for name in files:
                pixels = random.integers(0, 256, size=(64, 64, 4), dtype=np.uint8)
                content = io.BytesIO()
                Image.fromarray(pixels).save(content, "png")
                add(archive, f"package/img/style/64/{name}", content.getvalue())
        add(archive, "package/emoji.json", json.dumps(symbols).encode())


def add(archive: tarfile.TarFile, name: str, content: bytes) -> None:
    member = tarfile.TarInfo(name)
    member.size = len(content)
    archive.addfile(member, io.BytesIO(content))


def test_every_params_file_of_the_page_runs(folder: ProjectFolder, tmp_path: Path) -> None:
    """All that there are; of the drawings those without a class are left out."""
    write_package(tmp_path / "package.tgz")
    script = [sys.executable, str(REPOSITORY / "bench/emoji.py")]
    words = [*script, "folders", str(tmp_path / "package.tgz"), str(folder.root / "emoji")]
    made = subprocess.run(words, cwd=REPOSITORY, capture_output=True, text=True, check=False)
    assert made.returncode == 0, made.stderr
    assert {path.name for path in (folder.root / "emoji").iterdir()} == {"objects", "flags"}
    added = folder.pitchpipe("data", "add", "emoji/", "--dataset", "emoji")
    assert added.code == 0, added.err

    files = {Path(words[3]).stem: words[3] for words in commands()}
    shipped = {path.stem for path in REPOSITORY.glob("examples/ladder/*.yaml")}
    assert set(files) == set(NARROW) == shipped | {"emoji"}
    for name, file in files.items():
        ran = folder.pitchpipe("run", "--params", file, *overrides(*SMALL, *NARROW[name]))
        assert ran.code in (0, 3), ran.err
        assert "Traceback" not in ran.err
