"""The command line as its users and their scripts rely on it."""

import json
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from project_folder import REPOSITORY, ProjectFolder, clean_environment

from flows.cli.main import app

COMMANDS = [
    ("run",),
    ("tune",),
    ("gc",),
    ("params",),
    ("prepare",),
    ("data", "add"),
    ("data", "check"),
    ("data", "status"),
    ("data", "log"),
    ("data", "inbox"),
    ("data", "restore"),
    ("trials",),
    ("trials", "show"),
    ("trials", "compare"),
    ("trials", "curves"),
    ("versions",),
    ("versions", "show"),
    ("promote",),
    ("rollback",),
    ("reject",),
    ("approve",),
    ("audit",),
    ("trace",),
    ("evaluate",),
    ("predict",),
    ("reproduce",),
    ("export",),
    ("import",),
    ("serve",),
    ("sync",),
    ("adopt",),
    ("monitor",),
    ("schedule",),
    *(("schedule", name) for name in ("list", "pause", "resume", "remove", "run-now", "apply")),
    ("status",),
    ("doctor",),
    ("up",),
    ("open",),
]


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_every_command_has_help_with_an_example(
    command: tuple[str, ...],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """--help works anywhere, and shows how the command is called."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "120")

    assert app(args=[*command, "--help"], standalone_mode=False) in (None, 0)

    assert f"Example: pitchpipe {command[0]}" in capsys.readouterr().out


WRONG = [
    (("fly",), "No such command 'fly'"),
    (("run", "--sett", "a=b"), "No such option"),
    (("run", "--set", "search.epoch=3"), "did you mean 'epochs'"),
    (("run", "--set", "search.axes.minibatch_size=[]"), "search.axes.minibatch_size"),
    (("run", "--params", "nowhere.yaml"), "nowhere.yaml"),
    (("run", "--workers", "0"), "--workers"),
    (("tune", "--set", "trial.network.name=transformer"), "'cnn'"),
    (("params", "--set", "data=3"), "--set data: 3"),
    (("trials", "show", "feed"), "no trial's key begins with 'feed'"),
    (("trials", "compare", "feed", "f00d"), "no trial's key begins with 'feed'"),
    (("run", "--set", "trial.optimizer.learning_rate=0.5"), "search.axes.optimizer.learning_rate"),
    (("run", "--set", "data.name=nosuch"), "digits, fashion-mnist"),
    (("data", "add", "nowhere/"), "nowhere"),
    (("predict", "nowhere/"), "nowhere"),
    (("evaluate", "champion"), "champion"),
    (("promote", "7"), "7"),
    (("trace", "7"), "7"),
]


@pytest.mark.parametrize(("arguments", "told"), WRONG, ids=lambda value: str(value)[:50])
def test_wrong_usage_is_one_message_and_exit_code_2(
    arguments: tuple[str, ...], told: str, project: ProjectFolder
) -> None:
    """The value, the rule, the way out; never a traceback, and nothing begun."""
    ran = project.pitchpipe(*arguments)

    assert ran.code == 2, ran.err
    assert told in " ".join((ran.err + ran.out).split())
    assert "Traceback" not in ran.err
    assert not (project.root / "data/raw").exists()


def test_outside_a_project_the_way_in_is_named(tmp_path: Path) -> None:
    """No params.yaml here or above: exit 2."""
    ran = ProjectFolder(tmp_path).pitchpipe("trials")

    assert ran.code == 2
    assert "--root" in ran.err


@pytest.mark.parametrize("name", ["mlruns", ".prefect", "data"])
def test_a_file_in_the_place_of_a_folder_is_named(project: ProjectFolder, name: str) -> None:
    """Exit 2, the path, and what to do."""
    (project.root / name).write_text("")

    ran = project.pitchpipe("params")

    assert ran.code == 2
    assert f"{project.root / name}: is a file" in ran.err
    assert "move it away" in ran.err


def test_root_and_environment_choose_the_project(project: ProjectFolder, tmp_path: Path) -> None:
    """--root before the command, or PITCHPIPE_ROOT; else the nearest folder upwards."""
    elsewhere = ProjectFolder(tmp_path)
    below = project.root / "examples" / "deep"
    below.mkdir(parents=True)
    expected = project.pitchpipe("params", "--json").document

    by_option = elsewhere.pitchpipe("--root", str(project.root), "params", "--json").document
    by_variable = elsewhere.pitchpipe("params", "--json", PITCHPIPE_ROOT=str(project.root)).document
    upwards = ProjectFolder(below).pitchpipe("params", "--json").document

    assert by_option == by_variable == upwards == expected


def test_a_relative_root_holds_for_commands_that_look_twice(project: ProjectFolder) -> None:
    """Entering the project changes the working directory, not what --root meant."""
    above = ProjectFolder(project.root.parent)

    ran = above.pitchpipe("--root", project.root.name, "promote", "7")

    assert ran.code == 2
    assert "has no version" in ran.err


def test_the_users_paths_are_meant_from_where_they_stand(
    project: ProjectFolder, tmp_path: Path
) -> None:
    """--params of another folder, with the project named by --root."""
    (tmp_path / "mine.yaml").write_text("search: {epochs: 7}")

    ran = ProjectFolder(tmp_path).pitchpipe(
        "--root", str(project.root), "params", "--json", "--params", "mine.yaml"
    )

    assert ran.document["search"]["epochs"] == 7


def test_resolved_params_are_a_params_file(project: ProjectFolder) -> None:
    """What `params` prints resolves to itself."""
    printed = project.pitchpipe("params", "--set", "trial.optimizer.name=sgd").out
    (project.root / "printed.yaml").write_text(printed)

    again = project.pitchpipe("params", "--params", "printed.yaml").out

    assert again == printed
    assert "name: sgd" in printed


def test_the_schema_describes_every_key(project: ProjectFolder) -> None:
    """Each property of a params file has its meaning beside it."""
    schema = project.pitchpipe("params", "--schema").document
    fields = [
        (name, field, definition)
        for name, definition in schema["$defs"].items()
        for field, definition in definition.get("properties", {}).items()
        if field != "name"
    ]

    assert schema["additionalProperties"] is False
    assert len(fields) > 50
    assert [(n, f) for n, f, d in fields if not d.get("description")] == []


def test_json_is_all_there_is_on_standard_output(project: ProjectFolder) -> None:
    """Scripts may parse it as it comes."""
    ran = project.pitchpipe("trials", "--json")

    assert json.loads(ran.out) == []
    assert ran.code == 0


def test_help_and_version_start_without_anything_heavy(tmp_path: Path) -> None:
    """Asking for them waits for no framework, inside a project or not."""
    script = (
        "import sys\nfrom flows.cli import main\n"
        "print(main.app(args=['--version'], standalone_mode=False))\n"
        "heavy = ('torch', 'mlflow', 'prefect', 'dvc', 'sklearn', 'pydantic', 'numpy')\n"
        "print([name for name in heavy if name in sys.modules])"
    )
    ran = subprocess.run(
        [sys.executable, "-c", script],
        cwd=tmp_path,
        env=clean_environment(),
        capture_output=True,
        text=True,
        check=True,
    )
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text(encoding="utf-8"))["project"]

    assert ran.stdout.splitlines() == [f"pitchpipe {project['version']}", "0", "[]"]


def test_a_reader_that_goes_away_is_no_error(project: ProjectFolder) -> None:
    """`pitchpipe params --schema | head -1` ends quietly."""
    pitchpipe = Path(sys.executable).parent / "pitchpipe"
    ran = subprocess.run(
        f"set -o pipefail; {pitchpipe} params --schema | head -c 1",
        shell=True,
        executable="/bin/bash",
        cwd=project.root,
        env=clean_environment(),
        capture_output=True,
        text=True,
        check=False,
    )

    assert ran.stdout == "{"
    assert "Traceback" not in ran.stderr
