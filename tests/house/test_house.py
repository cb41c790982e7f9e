"""Rules of the house that neither ruff nor import-linter can see."""

import ast
import json
import os
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from project_folder import REPOSITORY as ROOT

SOURCES = sorted(path for package in ("flows", "models") for path in (ROOT / package).rglob("*.py"))
PAGES = sorted(
    path.relative_to(ROOT).as_posix()
    for path in (*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"))
)
PYPROJECT: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))


def requirements() -> list[str]:
    """What pyproject.toml asks for, extras included, but for the project itself."""
    project = PYPROJECT["project"]
    groups = [project["dependencies"], *project["optional-dependencies"].values()]
    asked = [requirement for group in groups for requirement in group]
    return [one for one in asked if Requirement(one).name != project["name"]]


def shown(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


LONGEST_FUNCTION, LONGEST_MODULE, NINE_IN_TEN_FUNCTIONS = 40, 400, 25
"""Lines, the docstring's included."""

SERVICES = {"prefect", "mlflow", "dvc", "typer"}
"""Not rich: Lightning draws with it where it finds it. That no module of ours does, lint proves."""
FRAMEWORKS = {
    "torch",
    "pytorch_lightning",
    "mlflow",
    "prefect",
    "dvc",
    "sklearn",
    "optuna",
    "scipy",
}
HEAVY = FRAMEWORKS | {
    *("numpy", "pandas", "pyarrow", "matplotlib", "PIL", "pydantic", "pydantic_core", "yaml"),
}

IMPORT_ALL = """
import importlib, json, logging, sys
# On a slow machine it says that it builds its list of fonts, once in the life of a home folder.
logging.getLogger("matplotlib.font_manager").setLevel("ERROR")
imported = {}
for name in sys.argv[2:]:
    importlib.import_module(name)
    imported[name.split(".")[0]] = sorted(sys.modules)
with open(sys.argv[1], "w") as file:
    json.dump(imported, file)
"""
SHOW_HELP = """
import json, sys
from flows.cli.main import main
try:
    main(["--help"])
except SystemExit as exit:
    assert exit.code == 0, exit.code
with open(sys.argv[1], "w") as file:
    json.dump({"help": sorted(sys.modules)}, file)
"""


@dataclass(frozen=True, slots=True)
class Imported:
    """What a clean process did while it imported."""

    packages: Mapping[str, frozenset[str]]
    """After which part -> top-level names in sys.modules."""
    said: str
    """On standard output and standard error."""
    created: list[str]
    """Paths in its working directory, which was empty."""


@dataclass(frozen=True, slots=True, order=True)
class Function:
    lines: int
    where: str


@pytest.fixture(scope="module")
def everything(tmp_path_factory: pytest.TempPathFactory) -> Imported:
    """A process that imports every module of models/, then every module of flows/."""
    names = sorted(module_names(), key=lambda name: (not name.startswith("models"), name))
    return import_cleanly(tmp_path_factory.mktemp("everything"), IMPORT_ALL, *names)


def test_importing_does_nothing(everything: Imported) -> None:
    """Every module is imported without a word and without a file where the process stands."""
    assert (everything.said, everything.created) == ("", [])
    assert everything.packages["flows"] >= {"prefect", "mlflow"}  # so these were real imports


def test_models_know_no_service_and_no_command_line(everything: Imported) -> None:
    """Training, the search, the gate and evaluation run where no service is installed."""
    assert everything.packages["models"] & SERVICES == set()


def test_help_imports_nothing_heavy(tmp_path: Path) -> None:
    """`pitchpipe --help` answers at once: what a command needs is imported by that command."""
    shown = import_cleanly(tmp_path, SHOW_HELP)

    assert "pitchpipe run" in shown.said
    assert shown.packages["help"] & HEAVY == set()


def test_deciding_not_to_retrain_needs_no_framework(tmp_path: Path) -> None:
    """A retraining with nothing to do ends in seconds: it loads what trains and serves never."""
    imported = import_cleanly(tmp_path, IMPORT_ALL, "flows.run", "flows.cli.display.retraining")

    assert imported.packages["flows"] & FRAMEWORKS == set()


def test_functions_fit_in_one_look() -> None:
    """No function has more than 40 lines, and nine in ten have at most 25."""
    functions = sorted(function for path in SOURCES for function in functions_of(path))
    longest = [f"{one.where}: {one.lines}" for one in functions if one.lines > LONGEST_FUNCTION]
    ninth_decile = functions[len(functions) * 9 // 10]

    assert longest == [], f"longer than {LONGEST_FUNCTION} lines: {'; '.join(longest)}"
    assert ninth_decile.lines <= NINE_IN_TEN_FUNCTIONS, f"the 90th percentile is {ninth_decile}"


def test_modules_are_split_by_meaning() -> None:
    """No module has more than 400 lines."""
    lines = {path: len(path.read_text(encoding="utf-8").splitlines()) for path in SOURCES}
    longest = [f"{shown(path)}: {n}" for path, n in lines.items() if n > LONGEST_MODULE]

    assert longest == [], f"longer than {LONGEST_MODULE} lines: {'; '.join(longest)}"


def test_nothing_is_printed() -> None:
    """models/ and flows/ log, or draw tables with rich; they never call print."""
    calls = [
        f"{shown(path)}:{node.lineno}"
        for path in SOURCES
        for node in ast.walk(tree_of(path))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name)
        if node.func.id == "print"
    ]

    assert calls == []


@pytest.mark.parametrize("requirement", sorted(requirements()))
def test_constraints_pin_every_dependency_within_its_range(requirement: str) -> None:
    """`make install` takes an exact version of each dependency, one that pyproject.toml allows."""
    wanted = Requirement(requirement)
    pinned = pins()

    assert canonicalize_name(wanted.name) in pinned, f"{wanted.name} is not in constraints.txt"
    assert wanted.specifier.contains(pinned[canonicalize_name(wanted.name)])


def test_every_dependency_has_its_reason() -> None:
    """Above each dependency, or the group it opens, stands why it is there."""
    lines = (ROOT / "pyproject.toml").read_text(encoding="utf-8").splitlines()
    start, end = lines.index("dependencies = ["), lines.index("[project.scripts]")
    unexplained = [
        line.strip()
        for before, line in zip(lines[start:end], lines[start + 1 : end], strict=False)
        if line.startswith('  "') and not before.startswith(("  #", '  "'))
    ]

    assert unexplained == []


def test_ci_runs_pinned_actions_without_rights_and_the_verbs_of_the_makefile() -> None:
    """Actions are named by commit, the token may only read, and each `make` verb exists."""
    workflow = ci()
    steps = [step for job in workflow["jobs"].values() for step in job["steps"]]
    actions = [step["uses"] for step in steps if "uses" in step]
    verbs = {verb for step in steps for verb in make_verbs(step.get("run", ""))}

    assert workflow["permissions"] == {"contents": "read"}
    assert [use for use in actions if not re.fullmatch(r"[\w-]+/[\w-]+@[0-9a-f]{40}", use)] == []
    assert verbs >= {"install", "lint", "types", "test", "test-slow"}
    assert verbs <= phony_targets()
    for job in workflow["jobs"].values():
        assert job["steps"][-1] == {"run": "git diff --exit-code"}


def test_ci_tests_every_python_on_linux_and_the_ends_on_macos() -> None:
    """From the oldest that pyproject.toml takes; only what nobody has seen green may fail."""
    job = ci()["jobs"]["test"]
    matrix = job["strategy"]["matrix"]
    plain = [(system, python) for system in matrix["system"] for python in matrix["python"]]
    others = [(one["system"], one["python"]) for one in matrix["include"]]
    oldest = PYPROJECT["project"]["requires-python"].removeprefix(">=")
    minor = int(oldest.partition(".")[2])
    newest = max(int(python.partition(".")[2]) for _, python in (*plain, *others))

    wanted = [f"3.{number}" for number in range(minor, newest + 1)]
    assert [python for system, python in (*plain, *others) if "ubuntu" in system] == wanted
    assert [python for system, python in others if "macos" in system] == [oldest, f"3.{newest}"]
    assert newest >= 14
    assert [one for one in matrix["include"] if one.get("may_fail") is not True] == []
    assert job["continue-on-error"] == "${{ matrix.may_fail == true }}"


def test_ci_tries_weekly_what_lies_beyond_the_upper_limits() -> None:
    """It alone of the weekly runs may fail, and nothing brings the pins back after it."""
    job = ci()["jobs"]["full"]
    versions = job["strategy"]["matrix"]["versions"]
    runs = [step["run"] for step in job["steps"] if "run" in step]
    pips = [number for number, run in enumerate(runs) if "pip install" in run]

    assert "without upper limits" in versions
    assert job["continue-on-error"] == "${{ matrix.versions == 'without upper limits' }}"
    assert {step["if"] for step in job["steps"] if "if" in step} == {
        f"matrix.versions == '{one}'" for one in versions if one != "pinned versions"
    }
    # `make test` installs where its stamp is missing: pinned versions, over the newer ones.
    assert make_verbs(runs[0]) == {"install-dev"}
    assert pips == [1, 2]


def test_the_uncapped_requirements_are_all_that_there_are_without_their_limits() -> None:
    """Floors stay: below them is what is known to break."""
    printed = subprocess.run(
        [sys.executable, ROOT / ".ci/uncapped.py"], capture_output=True, text=True, check=True
    )
    found = {one.name: one for one in map(Requirement, printed.stdout.splitlines())}
    wanted = {one.name: one for one in map(Requirement, requirements())}

    assert found.keys() == wanted.keys()
    assert [name for name, one in found.items() if "<" in str(one) or "==" in str(one)] == []
    for name, one in wanted.items():
        assert set(found[name].specifier) == {
            part for part in one.specifier if part.operator == ">="
        }


def test_new_versions_are_proposed_one_by_one() -> None:
    """Packages and actions, weekly; not in groups, of which none could say what broke."""
    text = (ROOT / ".github/dependabot.yml").read_text(encoding="utf-8")
    updates = yaml.safe_load(text)["updates"]

    assert [(one["package-ecosystem"], one["directory"]) for one in updates] == [
        ("pip", "/"),
        ("github-actions", "/"),
    ]
    assert [one["schedule"] for one in updates] == [{"interval": "weekly"}] * 2
    assert [one for one in updates if "groups" in one] == []


def test_what_linux_alone_has_is_asked_for_in_one_place() -> None:
    """models/processes.py has the way round; elsewhere on Linux alone would be a fault on macOS.

    What confines a process has its own, for it may import nothing.
    """
    linux = re.compile(
        r"sched_|prctl|/proc\b|/dev/shm|sys\.platform|forkserver\"|posix_fadvise|pidfd|O_TMPFILE"
    )
    found = {shown(path) for path in SOURCES if linux.search(path.read_text(encoding="utf-8"))}

    assert found == {"models/processes.py", "flows/registry/confinement.py"}


def test_commands_to_install_are_those_that_there_are() -> None:
    """pitchpipe is in no registry: who asked one for it would get a stranger's package."""
    texts = {
        path: path.read_text(encoding="utf-8") for path in (*map(ROOT.joinpath, PAGES), *SOURCES)
    }
    verbs = {
        verb
        for text in texts.values()
        for verb in re.findall(r"(?:^|`)make ([a-z][a-z-]*)", text, re.MULTILINE)
    }
    asking = [
        shown(path)
        for path, text in texts.items()
        if re.search(r"pip install [^`\n]*pitchpipe", text)
    ]

    assert {"run", "install"} <= verbs <= phony_targets()
    assert asking == []


def test_the_commit_hook_is_make_lint() -> None:
    """A commit is checked by the verb that people and CI use, and by nothing else."""
    config = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text(encoding="utf-8"))

    assert [hook["entry"] for repo in config["repos"] for hook in repo["hooks"]] == ["make lint"]


@pytest.mark.parametrize("page", PAGES)
def test_links_between_pages_lead_somewhere(page: str) -> None:
    """A relative link names a file or folder of the repository."""
    text = (ROOT / page).read_text(encoding="utf-8")
    targets = re.findall(r"\]\((?!https?://|#)([^)#]+)", text)

    assert [one for one in targets if not (ROOT / page).parent.joinpath(one).exists()] == []


def test_the_design_is_one_page_that_names_every_package() -> None:
    """docs/design.md shows the layout as it is: all modules and packages, none that is gone."""
    text = (ROOT / "docs/design.md").read_text(encoding="utf-8")
    tables = text[text.index("| `flows/` |") : text.index("## One retraining")]
    named = set(re.findall(r"`(?:registry/|cli/)?([\w*]+(?:\.py|/))`", tables)) - {
        "flows/",
        "models/",
    }
    there = {
        path.name + ("/" if path.is_dir() else "")
        for package in ("flows", "models")
        for path in entries_of(ROOT / package)
    }

    assert len(text.splitlines()) <= 120
    assert there - named == set()
    assert named - there == {"display/", "promotion/", "doctor/"}  # rooms of rooms


def test_a_folder_is_seen_at_a_glance() -> None:
    """No package shows more than 20 entries, and flows/ not more than 18."""
    folders = {path.parent for path in SOURCES}
    crowded = {
        shown(folder): len(entries_of(folder)) for folder in folders if len(entries_of(folder)) > 20
    }

    assert crowded == {}
    assert len(entries_of(ROOT / "flows")) + 1 <= 18  # and its __init__.py


def test_the_packages_of_flows_stand_in_at_most_12_layers() -> None:
    """One contract, exhaustive, that a newcomer can hold in mind; `make lint` proves it."""
    contracts = PYPROJECT["tool"]["importlinter"]["contracts"]
    [packages] = [one for one in contracts if one.get("containers") == ["flows"]]

    assert packages["exhaustive"]
    assert len(packages["layers"]) <= 12
    assert "exclude_type_checking_imports" not in PYPROJECT["tool"]["importlinter"]


def import_cleanly(folder: Path, script: str, *names: str) -> Imported:
    """Run a script in a process whose home and working directory are new and empty."""
    work, home, report = folder / "work", folder / "home", folder / "modules.json"
    work.mkdir()
    home.mkdir()
    environment = {
        "HOME": str(home),
        "PATH": os.environ["PATH"],
        "PYTHONPATH": str(ROOT),  # these sources, whichever tree is installed
        "PREFECT_HOME": str(home / "prefect"),
        "DO_NOT_TRACK": "true",
    }
    done = subprocess.run(
        [sys.executable, "-c", script, str(report), *names],
        cwd=work,
        env=environment,
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    modules: dict[str, list[str]] = json.loads(report.read_text(encoding="utf-8"))
    return Imported(
        packages={
            part: frozenset(name.split(".")[0] for name in names) for part, names in modules.items()
        },
        said=done.stdout + done.stderr,
        created=sorted(str(path.relative_to(work)) for path in work.rglob("*")),
    )


def module_names() -> list[str]:
    """Dotted names of all modules of flows/ and models/."""
    parts = [path.relative_to(ROOT).with_suffix("").parts for path in SOURCES]
    return sorted({".".join(names).removesuffix(".__init__") for names in parts})


def functions_of(path: Path) -> Iterator[Function]:
    """Yield the functions and methods of a module, nested ones too."""
    for node in ast.walk(tree_of(path)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            assert node.end_lineno is not None
            where = f"{shown(path)}:{node.lineno} {node.name}"
            yield Function(node.end_lineno - node.lineno + 1, where)


def pins() -> dict[str, str]:
    """Return package -> version of constraints.txt, every line of which is an exact pin."""
    lines = (ROOT / "constraints.txt").read_text(encoding="utf-8").split()
    pairs = [line.partition("==") for line in lines]
    assert all(equals for _, equals, _ in pairs)
    return {canonicalize_name(name): version for name, _, version in pairs}


def ci() -> dict[str, Any]:
    """The workflow of .github."""
    text = (ROOT / ".github/workflows/ci.yml").read_text(encoding="utf-8")
    workflow: dict[str, Any] = yaml.safe_load(text)
    return workflow


def make_verbs(command: str) -> set[str]:
    """Return the targets of a `make` command; none of another command."""
    words = command.split()
    return {word for word in words[1:] if "=" not in word} if words[:1] == ["make"] else set()


def phony_targets() -> set[str]:
    """Return the verbs of the Makefile."""
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    declared = re.search(r"^\.PHONY: (.*)$", makefile, flags=re.MULTILINE)
    assert declared is not None
    return set(declared[1].split())


def entries_of(folder: Path) -> list[Path]:
    """Modules and packages of a folder, without its __init__.py."""
    return [
        path
        for path in folder.iterdir()
        if (path.is_dir() or path.suffix == ".py") and not path.name.startswith("__")
    ]


def tree_of(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))
