"""The commands for versions, as scripts use them: JSON, exit codes, messages."""

import json
from pathlib import Path

import pytest
from registry_records import BARS, BarsNetwork, Command, answer, bars_registration

from flows.registry.registering import register
from flows.tracking.runs import Runs
from flows.tracking.store import Tracking, open_tracking

pytest_plugins = ["registry_fixtures", "registry_project"]

MOVED = {"action", "from", "to", "verdict", "reasons", "ledger_entry"}


def test_versions_are_listed_newest_first(pitchpipe: Command) -> None:
    """Every key is there; scores are numbers."""
    listed = answer(pitchpipe, "versions")
    assert [row["version"] for row in listed] == [2, 1]
    assert {"version", "aliases", "test", "dataset", "trial", "created"} <= set(listed[0])
    assert listed[0]["aliases"] == ["challenger"]
    assert listed[0]["test"] == {"accuracy": 0.9, "f1_macro": 0.89, "cross_entropy": 0.25}
    assert listed[0]["dataset"]["name"] == "digits"
    shown = answer(pitchpipe, "versions", "show", "2")
    assert shown["tags"]["trial.key"] == shown["trial"] == listed[0]["trial"]


def test_tables_for_people(pitchpipe: Command) -> None:
    """Without --json the same facts are readable."""
    code, out, _ = pitchpipe("versions")
    assert code == 0
    assert BARS in out
    assert "challenger" in out
    assert "dataset.name" in pitchpipe("versions", "show", "1")[1]
    pitchpipe("promote", "1")
    shown = pitchpipe("audit")[1]
    assert "entries; chain, MLflow and aliases agree" in shown
    assert all(len(line) < 200 for line in shown.splitlines())  # reasons of a verdict are longer
    assert any(line.endswith(" ...") for line in shown.splitlines())


def test_promotion_by_the_gate_and_back(pitchpipe: Command) -> None:
    """Refused is exit 3; promoted, forced, rolled back are exit 0, each with its reasons."""
    refused = answer(pitchpipe, "promote", "2", code=3)
    assert set(refused) == MOVED
    assert (refused["verdict"], refused["from"], refused["to"]) == ("REJECT", None, None)
    promoted = answer(pitchpipe, "promote", "1", "--reason", "the first")
    assert (promoted["action"], promoted["from"], promoted["to"]) == ("promote", None, 1)
    assert promoted["reasons"][0] == "the first"
    forced = answer(pitchpipe, "promote", "2", "--force", "--reason", "to see it fail")
    assert (forced["from"], forced["to"], forced["verdict"]) == (1, 2, None)
    back = answer(pitchpipe, "rollback", "--reason", "it failed")
    assert (back["action"], back["from"], back["to"]) == ("rollback", 2, 1)
    found = answer(pitchpipe, "audit", "--verify")
    assert found["valid"] is True
    assert found["problems"] == []
    actions = [entry["action"] for entry in found["entries"] if entry["action"] != "intent"]
    assert actions == ["reject", "promote", "promote", "rollback"]
    assert found["entries"][-1]["digest"] == back["ledger_entry"]


def test_forcing_without_a_reason_is_wrong_usage(pitchpipe: Command) -> None:
    """Exit 2, and what is missing."""
    code, _, err = pitchpipe("promote", "2", "--force")
    assert code == 2
    assert "--reason" in err


def test_an_unknown_version_is_wrong_usage(pitchpipe: Command) -> None:
    """Exit 2, naming what there is."""
    code, _, err = pitchpipe("promote", "9")
    assert code == 2
    assert "versions: 1, 2" in err


def test_manual_approval(pitchpipe: Command, bars: Path) -> None:
    """gate.approval: manual: promoting exits 3 until somebody approves."""
    params = bars / "params.yaml"
    params.write_text(params.read_text().replace("gate: {", "gate: {approval: manual, "))
    waiting = answer(pitchpipe, "promote", "1", code=3)
    assert (waiting["action"], waiting["verdict"], waiting["to"]) == ("await", "PROMOTE", None)
    assert answer(pitchpipe, "approve", "1")["to"] == 1
    code, _, err = pitchpipe("approve", "1")
    assert code == 2
    assert "does not await" in err


def test_rejecting(pitchpipe: Command) -> None:
    """A challenger turned down is one no longer."""
    rejected = answer(pitchpipe, "reject", "challenger", "--reason", "untrained")
    assert (rejected["action"], rejected["verdict"]) == ("reject", "REJECT")
    assert answer(pitchpipe, "versions")[0]["aliases"] == []


def test_an_alias_moved_in_the_ui_is_named_by_the_next_command(
    pitchpipe: Command, bars_tracking: Tracking
) -> None:
    """Listing warns, moving fails, adopting settles."""
    bars_tracking.client.set_registered_model_alias(BARS, "champion", "2")
    code, _, err = pitchpipe("versions")
    assert code == 0
    assert "moved outside pitchpipe" in err
    code, _, err = pitchpipe("promote", "1")
    assert code == 1
    assert "pitchpipe adopt" in err
    assert pitchpipe("audit", "--verify")[0] == 1
    adopted = answer(pitchpipe, "adopt", "--reason", "it was me")
    assert (adopted["action"], adopted["from"], adopted["to"]) == ("adopt", None, 2)
    assert pitchpipe("audit", "--verify")[0] == 0


def test_tampering_is_found_by_audit(pitchpipe: Command) -> None:
    """One changed word, and it exits 1, with --verify or without."""
    pitchpipe("promote", "1")
    path = Path("mlruns/ledger.jsonl")
    path.write_text(path.read_text().replace("PROMOTE", "REJECT", 1))
    found = answer(pitchpipe, "audit", code=1)
    assert answer(pitchpipe, "audit", "--verify", code=1) == found
    assert found["valid"] is False
    assert "entry 1 does not have its digest" in found["problems"][0]


def test_trace_names_all_that_made_a_version(pitchpipe: Command) -> None:
    """Data, params, code, environment, seed, trial."""
    found = answer(pitchpipe, "trace", "1")
    assert {"version", "data", "params", "code", "environment", "seed", "trial"} <= set(found)
    assert found["code"]["commit"] == "f" * 40
    assert found["data"]["dvc_md5"].endswith(".dir")
    assert found["environment"]["torch"] == "2.13.0"
    assert found["seed"] == 0
    assert "python" in pitchpipe("trace", "1")[1]


def test_another_registered_name(pitchpipe: Command) -> None:
    """--model asks about another; one that has nothing is an empty list."""
    assert answer(pitchpipe, "versions", "--model", "cats") == []
    code, _, err = pitchpipe("trace", "1", "--model", "cats")
    assert code == 2
    assert "pitchpipe run" in err


def test_sync_reports_what_it_did(pitchpipe: Command) -> None:
    """Nothing to do is said in numbers."""
    assert answer(pitchpipe, "sync") == {"told": [], "whole": 0, "refused": []}


def test_evaluate_scores_versions_on_todays_test_split(pitchpipe: Command) -> None:
    """By number or alias; one is right, one is not."""
    right = answer(pitchpipe, "evaluate", "1")
    assert {"accuracy", "f1_macro", "f1_weighted", "cross_entropy", "n", "intervals"} <= set(right)
    assert (right["accuracy"], right["n"]) == (1.0, 6)
    assert answer(pitchpipe, "evaluate", "challenger")["accuracy"] < 1
    assert "accuracy: 1.0000" in pitchpipe("evaluate", "1")[1]


def test_export_and_import_into_another_project(
    pitchpipe: Command, tmp_path: Path, migrated_database: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A version arrives with its lineage; importing again finds it; it is not champion by that."""
    pitchpipe("promote", "1")
    file = tmp_path / "bars.zip"
    exported = answer(pitchpipe, "export", "champion", str(file))
    again = answer(pitchpipe, "export", "1", str(tmp_path / "again.zip"))
    assert exported == again
    assert file.read_bytes() == (tmp_path / "again.zip").read_bytes()
    before = answer(pitchpipe, "trace", "1")
    enter_other_project(tmp_path / "other", migrated_database, monkeypatch)
    imported = answer(pitchpipe, "import", str(file))
    assert imported == exported == {"name": BARS, "version": 1, "digest": exported["digest"]}
    assert answer(pitchpipe, "import", str(file)) == imported
    [row] = answer(pitchpipe, "versions")
    assert row["aliases"] == []
    after = answer(pitchpipe, "trace", "1")
    assert {**after, "run": None} == {**before, "run": None}
    tracking = open_tracking(BARS)
    assert tracking.client.get_model_version(BARS, "1").tags["imported.from"] == f"{BARS} version 1"
    assert [file.path for file in tracking.client.list_artifacts(after["run"], "report")] == [
        "report/report.html"
    ]


def test_an_import_is_in_the_ledger_of_the_other_machine(
    pitchpipe: Command, tmp_path: Path, migrated_database: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Once, with where it came from and what was decided there as evidence; the audit agrees."""
    pitchpipe("promote", "1")
    promoted = answer(pitchpipe, "audit")["entries"][-1]
    exported = answer(pitchpipe, "export", "1", str(tmp_path / "bars.zip"))
    enter_other_project(tmp_path / "other", migrated_database, monkeypatch)
    for _ in range(2):
        assert answer(pitchpipe, "import", str(tmp_path / "bars.zip")) == exported
    found = answer(pitchpipe, "audit", "--verify")
    [entry] = found["entries"]
    assert (entry["action"], entry["from"], entry["to"]) == ("import", None, 1)
    there = f"of which the ledger there says last: promote, {promoted['time']}"
    assert entry["reasons"] == [f"came from {BARS} version 1, {there}"]
    evidence = json.loads(Path(f"mlruns/evidence/{entry['evidence']}.json").read_text())
    assert evidence["ledger"][-1] == promoted
    assert "ledger.import" in answer(pitchpipe, "versions", "show", "1")["tags"]
    assert "import none -> 1" in pitchpipe("audit")[1]
    assert answer(pitchpipe, "promote", "1", "--force", "--reason", "trusted")["to"] == 1
    assert answer(pitchpipe, "audit", "--verify")["valid"] is True


def test_an_import_is_found_by_the_name_it_came_with(
    pitchpipe: Command, tmp_path: Path, migrated_database: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In a project of other images it keeps its name, unless told; the way on says which."""
    file = str(tmp_path / "bars.zip")
    answer(pitchpipe, "export", "2", file)
    enter_other_project(tmp_path / "other", migrated_database, monkeypatch)
    params = Path("params.yaml")
    params.write_text(params.read_text().replace("bars", "cats"))
    code, out, err = pitchpipe("import", file)
    assert code == 0, err
    assert f"version 1 of {BARS}" in out
    assert f"`pitchpipe promote 1 --model {BARS}`" in out
    assert answer(pitchpipe, "versions") == []
    [row] = answer(pitchpipe, "versions", "--model", BARS)
    assert row["version"] == 1
    named = answer(pitchpipe, "import", file, "--model", "cats-classifier")
    assert (named["name"], named["version"]) == ("cats-classifier", 1)
    assert (
        "`pitchpipe promote 1` asks" in pitchpipe("import", file, "--model", "cats-classifier")[1]
    )


def test_what_is_no_export_leaves_no_registry_behind(pitchpipe: Command, tmp_path: Path) -> None:
    """It is refused before anything is opened, with exit code 2 and one line."""
    (tmp_path / "bars.zip").write_bytes(b"no zip")
    code, out, err = pitchpipe("import", str(tmp_path / "bars.zip"))
    assert (code, out) == (2, "")
    assert "bars.zip: cannot be read" in err
    assert len(err.splitlines()) == 1


def enter_other_project(
    other: Path, migrated_database: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Go to a project with the same params and an empty registry."""
    (other / "mlruns").mkdir(parents=True)
    (other / "mlruns/mlflow.db").write_bytes((migrated_database / "mlflow.db").read_bytes())
    (other / "params.yaml").write_text(Path("params.yaml").read_text())
    monkeypatch.chdir(other)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "sqlite:///mlruns/mlflow.db")


def test_registering_after_importing_makes_the_next_version(
    pitchpipe: Command, bars_tracking: Tracking
) -> None:
    """Commands see what the flow registered meanwhile."""
    run_id = Runs(bars_tracking).create("a retraining", tags={}, at=1)
    register(bars_tracking, bars_registration(BarsNetwork().eval(), run_id, seed=8))
    assert answer(pitchpipe, "versions")[0]["version"] == 3
