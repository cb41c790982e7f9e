"""What the Makefile's verbs install, seen by a Python that only writes down what it is asked."""

import shlex
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from project_folder import REPOSITORY, clean_environment, code_blocks

CPU_INDEX = "https://download.pytorch.org/whl/cpu"
READ = ("Makefile", "pyproject.toml", "constraints.txt", "bench/peers/requirements.txt")
PRODUCT, TOOLS = "install -e .", "install -e .[dev]"

RECORDER = """\
#!/bin/sh
# As `python -m venv` leaves it, this program is in .venv/bin afterwards.
if [ "$2" = venv ]; then
  mkdir -p "$3/bin"
  for name in python pip pitchpipe lint-imports; do cp recorder "$3/bin/$name"; done
fi
printf '%s\\n' "$*" >> asked.txt
"""


class Checkout:
    """A folder with the Makefile and what it reads."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True)
        for name in READ:
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_bytes((REPOSITORY / name).read_bytes())
        recorder = folder / "recorder"
        recorder.write_text(RECORDER)
        recorder.chmod(0o755)
        self.folder = folder

    def make(self, *words: str) -> subprocess.CompletedProcess[str]:
        """Run `make ...`."""
        return subprocess.run(
            ["make", "PYTHON=./recorder", *words],
            cwd=self.folder,
            # Should a real pip ever be asked, it must install nothing.
            env={
                **clean_environment(),
                "MAKEFLAGS": "",
                "PIP_NO_INDEX": "1",
                "PIP_REQUIRE_VIRTUALENV": "1",
            },
            capture_output=True,
            text=True,
            check=False,
        )

    def asked_by(self, *words: str) -> list[str]:
        """What a `make ...` that succeeds has Python do."""
        asked = self.folder / "asked.txt"
        asked.write_text("")
        done = self.make(*words)
        assert done.returncode == 0, done.stderr
        return asked.read_text().splitlines()

    def installed_by(self, *words: str) -> list[str]:
        """What a `make ...` has pip do, without the options that all its calls have."""
        always = "-m pip install --quiet --disable-pip-version-check -c constraints.txt"
        calls = [line for line in self.asked_by(*words) if line.startswith("-m pip")]
        assert [call for call in calls if not call.startswith(f"{always} ")] == []
        return [call.replace(always, "install") for call in calls]


@pytest.fixture(params=["plain", "it's a (2nd) $HOME; #1"])
def checkout(tmp_path: Path, request: pytest.FixtureRequest) -> Checkout:
    """A checkout, in a folder whose name a shell would take apart, too."""
    return Checkout(tmp_path / str(request.param) / "pitch pipe")


def test_a_run_installs_the_product_alone_and_once(checkout: Checkout) -> None:
    """No tests, no linters, no clusters; the second `make run` only runs."""
    assert checkout.installed_by("run") == [PRODUCT]
    assert checkout.asked_by("run") == ["run"]


@pytest.mark.parametrize("verb", ["test", "test-slow", "lint", "types", "format", "screenshots"])
def test_verbs_of_developers_add_their_tools_once(tmp_path: Path, verb: str) -> None:
    """After a run, or as the first command."""
    checkout = Checkout(tmp_path / "checkout")
    checkout.asked_by("run")

    assert checkout.installed_by(verb) == [TOOLS]
    assert checkout.installed_by(verb) == []
    assert checkout.installed_by("run") == []
    assert Checkout(tmp_path / "another").installed_by(verb) == [PRODUCT, TOOLS]


def test_other_requirements_or_another_place_install_again(checkout: Checkout) -> None:
    """A pull changes pyproject.toml or a pin; scripts of a moved .venv name the old place."""
    for name in ("pyproject.toml", "constraints.txt"):
        checkout.asked_by("test")
        with (checkout.folder / name).open("a") as file:
            file.write("\n")
        assert checkout.installed_by("run") == [PRODUCT]
        assert checkout.installed_by("test") == [TOOLS]
    checkout.folder = checkout.folder.rename(checkout.folder.with_name("moved"))
    assert checkout.installed_by("test") == [PRODUCT, TOOLS]


def test_a_link_to_the_checkout_is_the_checkout(checkout: Checkout) -> None:
    """By whichever path one comes, nothing is installed twice."""
    checkout.asked_by("test")
    link = checkout.folder.parent / "link to it"
    link.symlink_to(checkout.folder)
    checkout.folder = link

    assert checkout.installed_by("test") == []


def test_only_torch_comes_from_the_index_of_torch(tmp_path: Path) -> None:
    """TORCH=cpu: without its dependencies, which come from PyPI as all else."""
    checkout = Checkout(tmp_path / "checkout")

    calls = checkout.installed_by("test", "TORCH=cpu")

    assert calls == [f"install --no-deps --index-url {CPU_INDEX} torch", PRODUCT, TOOLS]
    assert Checkout(tmp_path / "gpu").installed_by("run", "TORCH=gpu") == [PRODUCT]
    peers = checkout.asked_by("bench-peers-env", "TORCH=cpu")
    (of_index,) = [call for call in peers if CPU_INDEX in call]
    assert of_index.endswith(f"--no-deps --index-url {CPU_INDEX} torch==2.13.0")


OLD = """\
#!/bin/sh
exec {python} -c "import sys; sys.version_info = (3, 9, 6); $2"
"""


def test_a_python_that_is_too_old_is_refused_before_anything_is_made(tmp_path: Path) -> None:
    """Which it was, what is needed, and how to name another; with that, it goes on."""
    checkout = Checkout(tmp_path / "check out")
    old = checkout.folder / "old"
    old.write_text(OLD.format(python=shlex.quote(sys.executable)))
    old.chmod(0o755)

    refused = checkout.make("run", "PYTHON=./old")

    assert refused.returncode == 2
    assert "./old is Python 3.9, and 3.11 or later is needed: make PYTHON=" in refused.stderr
    assert not (checkout.folder / ".venv").exists()
    assert checkout.installed_by("run") == [PRODUCT]


def test_an_environment_that_was_left_half_made_is_completed(tmp_path: Path) -> None:
    """Debian's Python without python3-venv leaves an interpreter without pip."""
    checkout = Checkout(tmp_path / "checkout")
    (checkout.folder / ".venv/bin").mkdir(parents=True)
    # No real interpreter: what pip is asked here must reach nobody's packages.
    (checkout.folder / ".venv/bin/python").write_text("#!/bin/sh\nexit 1\n")
    (checkout.folder / ".venv/bin/python").chmod(0o755)

    assert "-m venv .venv" in checkout.asked_by("run")


def test_another_torch_is_refused_before_anything_is_made(tmp_path: Path) -> None:
    """The value, and what there is."""
    checkout = Checkout(tmp_path / "checkout")
    refused = checkout.make("run", "TORCH=cuda")

    assert refused.returncode == 2
    assert "TORCH=cuda: is neither cpu nor gpu" in refused.stderr
    assert not (checkout.folder / ".venv").exists()


def test_the_page_on_engines_installs_them_by_a_command_that_there_is(tmp_path: Path) -> None:
    """Each `make` command of docs/engines.md has pip install extras of pyproject.toml."""
    checkout = Checkout(tmp_path / "checkout")
    known = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]
    lines = [line for block in code_blocks("sh", "docs/engines.md") for line in block.splitlines()]
    commands = [line.partition("#")[0].split()[1:] for line in lines if line.startswith("make ")]

    assert commands
    for words in commands:
        *_, last = checkout.installed_by(*words)
        extras = last.removeprefix("install -e .[").removesuffix("]").split(",")
        assert set(extras) <= set(known["optional-dependencies"]) - {"dev"}, words
    assert checkout.installed_by("install") == []  # the extra leaves no other command more to do
