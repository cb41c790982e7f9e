"""Which dataset and registered name a command is about: params.yaml, or what an option names."""

import json
import re
import sqlite3
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path

import pytest
import yaml
from project_folder import ProjectFolder

from flows.cli.main import app
from flows.records.promotion import Judgement, Promotion
from flows.records.retraining import DatasetName, Request, Retraining
from flows.retraining.decide import remember
from flows.tracking.store import Tracking
from models.config import load_params
from models.decision import Completed, Decision, Fingerprint
from models.errors import ConfigError
from models.gate.records import GateDecision

NOTICE = (
    "pitchpipe: params.yaml names digits; the last retraining was of photos: put "
    "`data: {name: photos}` into params.yaml, or pass --set data.name=photos\n"
)
Captured = pytest.CaptureFixture[str]


@pytest.fixture(autouse=True)
def _project(project: ProjectFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    """A project of digits that has a registry."""
    monkeypatch.chdir(project.root)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    Path("mlruns").mkdir()
    with closing(sqlite3.connect("mlruns/mlflow.db")) as connection:
        connection.execute("CREATE TABLE registered_model_aliases (name, alias, version)")


def retrained_on(dataset: str | None, *, name: str = "photos-classifier") -> None:
    """Leave the record of a retraining."""
    remember(
        Completed(
            fingerprint=Fingerprint(data="a", params="b", source="c", environment="d"),
            finished=datetime.now(UTC),
            verdict="PROMOTE",
            version=1,
            champion=1,
            name=name,
            dataset=dataset,
        )
    )


def run(*arguments: str) -> object:
    """Run a command in this process: each start of the command line costs a second."""
    return app(args=list(arguments), standalone_mode=False)


@pytest.mark.parametrize(
    "command",
    [
        ("trials",),
        ("data", "log"),
        ("data", "inbox"),
        ("schedule", "--cron", "0 3 * * *"),
    ],
)
def test_commands_say_that_params_name_another_dataset_than_the_last_retraining(
    command: tuple[str, ...], capsys: Captured
) -> None:
    """One line on standard error, with both ways out; standard output stays JSON."""
    retrained_on("photos")

    run(*command, "--json")

    out, err = capsys.readouterr()
    assert err == NOTICE
    json.loads(out)


@pytest.mark.parametrize(
    "options",
    [
        ("--set", "data.name=photos"),
        ("--set", "data.name=digits"),
        ("--set", "data={name: photos}"),
        ("--params", "mine.yaml"),
        ("--dataset", "digits"),
    ],
)
def test_an_option_that_names_the_dataset_is_taken_at_its_word(
    options: tuple[str, ...], capsys: Captured
) -> None:
    """Whoever says which one needs no advice."""
    Path("mine.yaml").write_text("data: {name: digits}")
    retrained_on("photos")

    run("trials", *options)

    assert capsys.readouterr().err == ""


@pytest.mark.parametrize("dataset", ["digits", None])
def test_nothing_is_said_where_both_agree_or_the_record_is_of_an_earlier_release(
    dataset: str | None, capsys: Captured
) -> None:
    """Such records name no dataset."""
    retrained_on(dataset, name="digits-classifier")

    run("trials")

    assert capsys.readouterr().err == ""


def test_another_registered_name_of_the_same_dataset_is_said_too(capsys: Captured) -> None:
    """What it was registered as decides which champion the commands are about."""
    retrained_on("digits", name="trial-balloon")

    run("trials")

    assert "put `registry: {name: trial-balloon}` into params.yaml" in capsys.readouterr().err


COMMANDS = [
    "versions",
    "versions show 1",
    "promote 1",
    "rollback",
    "reject 1",
    "approve 1",
    "adopt",
    "audit",
    "trace 1",
    "sync",
    "evaluate 1",
    "predict .",
    "serve",
    "reproduce 1",
    "export 1 one.zip",
    "monitor .",
]


@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize(
    ("options", "name"),
    [
        ((), "digits-classifier"),
        (("--set", "data.name=photos"), "photos-classifier"),
        (("--params", "mine.yaml"), "photos-classifier"),
        (("--set", "data.name=photos", "--model", "other"), "other"),
    ],
)
def test_every_command_on_versions_takes_params_set_and_model(
    command: str, options: tuple[str, ...], name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It opens MLflow for the registered name that they say."""
    Path("mine.yaml").write_text("data: {name: photos}")

    def refuse(_: Tracking, *, uri: str, name: str) -> None:
        raise ConfigError(f"opened {name} at {uri}")

    monkeypatch.setenv("MLFLOW_TRACKING_URI", "sqlite:///mlruns/mlflow.db")
    # Of the class, not of its module: what is imported first in here would keep a function.
    monkeypatch.setattr(Tracking, "__init__", refuse)

    with pytest.raises(ConfigError, match=f"opened {name} at sqlite"):
        run(*command.split(), *options)


@pytest.mark.parametrize(
    "arguments",
    [("versions", "--model", "other", "show", "1"), ("trials", "--all", "show", "1")],
)
def test_options_of_a_group_before_its_command_are_refused(arguments: tuple[str, ...]) -> None:
    """They would be ignored."""
    with pytest.raises(ConfigError, match=f"options of `{arguments[0]} show` go after it"):
        run(*arguments)


def test_status_is_about_the_dataset_named_and_holds_the_notice(capsys: Captured) -> None:
    """Registered name and champion are of that dataset; the notice is a fact, for scripts too."""
    retrained_on("photos")

    run("status", "--json")
    default = json.loads(capsys.readouterr().out)
    run("status", "--json", "--set", "data.name=photos")
    named = json.loads(capsys.readouterr().out)
    run("status")

    assert default["name"] == "digits-classifier"
    assert f"pitchpipe: {default['notice']}\n" == NOTICE
    assert named["name"] == "photos-classifier"
    assert default["last_run"] == named["last_run"]
    assert named["last_run"]["dataset"] == "photos"
    assert "the last retraining was of photos" in " ".join(capsys.readouterr().out.split())


PASSED = Promotion(
    judgement=Judgement(version=1, champion=1, decision=GateDecision(verdict="PROMOTE", rules=())),
    move=None,
)


@pytest.mark.parametrize(
    "overrides",
    [
        ("data.name=photos",),
        ("data.name=photos", "data.channels=3", "data.fractions={test: 0.3}"),
        ("data.name=photos", "search.axes={minibatch_size: [8, 16]}", "trial.network.name=mlp"),
        ("data={name: photos, image_size: 40}", "gate.approval=manual", "registry.name=mine"),
    ],
)
def test_run_prints_what_makes_its_dataset_the_default(
    overrides: tuple[str, ...], monkeypatch: pytest.MonkeyPatch, capsys: Captured
) -> None:
    """Put into params.yaml as it stands there, it gives the params of that retraining."""
    decision = Decision(retrain=True, reason="forced")
    result = Retraining(
        decision=decision,
        promotion=PASSED,
        dataset=DatasetName(name="photos", digest="d"),
    )

    def retrain(request: Request) -> Retraining:
        assert request.overrides == list(overrides)
        return result

    monkeypatch.setattr("flows.run.run_retraining", retrain)

    assert run("run", "--json", *(word for one in overrides for word in ("--set", one))) == 0

    out, err = capsys.readouterr()
    assert json.loads(out)["version"] == 1
    assert err.startswith("params.yaml names digits. To make this retraining of photos the default")
    printed = "".join(re.findall(r"^  (.*\n)", err, flags=re.MULTILINE))
    tree = yaml.safe_load(Path("params.yaml").read_text())
    for section, keys in yaml.safe_load(printed).items():
        tree[section] = tree.get(section, {}) | keys
    Path("mine.yaml").write_text(yaml.safe_dump(tree))
    assert load_params(Path("mine.yaml")) == load_params(Path("params.yaml"), overrides)


def test_run_says_nothing_where_the_dataset_is_the_default(
    monkeypatch: pytest.MonkeyPatch, capsys: Captured
) -> None:
    """Other overrides are meant for once."""
    result = Retraining(decision=Decision(retrain=True, reason="forced"), promotion=PASSED)
    monkeypatch.setattr("flows.run.run_retraining", lambda _: result)

    run("run", "--json", "--set", "search.epochs=1")

    assert capsys.readouterr().err == ""
