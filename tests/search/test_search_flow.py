"""Searches end to end: child processes on the digits, killed, repeated, limited."""

import json
import shutil
from pathlib import Path
from typing import Any

import psutil
import pytest
from project_folder import ProjectFolder, make_project, overrides

SPACE = (
    "trial.network={name: mlp, hidden_units: 8, hidden_layers: 1}",
    "data.limit=400",
    "search.strategy=random",
    "search.trials=6",
    "search.axes={optimizer.learning_rate: {low: 0.0001, high: 0.1, log: true}}",
)
HALVED = (*SPACE, "search.pruner=asha", "search.reduction_factor=2", "search.epochs=4")


@pytest.fixture(scope="module")
def searched(
    tmp_path_factory: pytest.TempPathFactory, prefect_api: str
) -> tuple[ProjectFolder, Any]:
    """A project after a search by successive halving, and its document."""
    root = tmp_path_factory.mktemp("searched") / "project"
    folder = make_project(root, {"PREFECT_API_URL": prefect_api})
    ran = folder.pitchpipe("tune", "--json", *overrides(*HALVED))
    assert ran.code == 0, ran.err
    return folder, ran.document


def test_weak_trials_are_pruned_and_the_best_has_the_whole_budget(
    searched: tuple[ProjectFolder, Any],
) -> None:
    """Counts, leaderboard and store say who was stopped, and after how many epochs."""
    folder, document = searched

    board = document["leaderboard"]
    listed = {row["key"]: row for row in folder.pitchpipe("trials", "--json").document}

    assert document["trials"]["pruned"] == sum(entry["pruned"] for entry in board) > 0
    assert document["trials"]["total"] == len(board) == 6
    assert board[0]["epochs"] == 4
    assert not board[0]["pruned"]
    assert {entry["epochs"] for entry in board if entry["pruned"]} <= {1, 2}
    for entry in board:
        assert listed[entry["key"]]["state"] == ("pruned" if entry["pruned"] else "finished")
        assert listed[entry["key"]]["epochs"] == entry["epochs"]


def test_a_search_repeated_is_the_same_and_trains_nothing(
    searched: tuple[ProjectFolder, Any],
) -> None:
    """All decisions are in its journal, all outcomes in the store."""
    folder, document = searched

    foreseen = folder.pitchpipe("tune", "--dry-run", "--json", *overrides(*HALVED)).document
    again = folder.pitchpipe("tune", "--json", *overrides(*HALVED), "--workers", "4").document

    assert [essence(entry) for entry in again["leaderboard"]] == [
        essence(entry) for entry in document["leaderboard"]
    ]
    assert (foreseen["trials"]["trained"], foreseen["seconds"]) == (0, 0)
    assert foreseen["trials"]["total"] == document["trials"]["total"]
    assert again["trials"]["trained"] == 0
    assert (again["optimism"], again["distinction"]) == (
        document["optimism"],
        document["distinction"],
    )
    assert again["trials"]["pruned"] == document["trials"]["pruned"]


def test_a_search_says_whom_it_cannot_tell_from_the_best(
    searched: tuple[ProjectFolder, Any],
) -> None:
    """Pruned trials too, in every place; each predicted validation once."""
    folder, document = searched

    shown = folder.pitchpipe("tune", *overrides(*HALVED)).out
    listed = {row["key"]: row for row in folder.pitchpipe("trials", "--json").document}
    table = folder.pitchpipe("trials").out

    board, distinction = document["leaderboard"], document["distinction"]
    alike = [entry for entry in board[1:] if not entry["from_best"]["distinguishable"]]
    assert board[0]["from_best"] is None
    assert (distinction["others"], distinction["tested"]) == (5, 5)
    assert distinction["alike"] == len(alike)
    assert document["optimism"]["trials"] == 6
    for entry in board:
        assert listed[entry["key"]]["from_best"] == entry["from_best"]
    assert "5 other trials" in shown
    assert table.count("~") == len(alike) + bool(alike)
    assert shown.count("~") == len(alike) + 1
    assert len(list(folder.root.glob("mlruns/trials/*/validation-*.bin"))) == 6


def essence(entry: Any) -> Any:
    """An entry but for whether it was cached."""
    return {name: value for name, value in entry.items() if name != "cached"}


def journal(root: Path) -> list[str]:
    """Lines of the one search's journal, those that are whole."""
    text = "".join(path.read_text() for path in root.glob("mlruns/searches/*.jsonl"))
    return text[: text.rfind("\n") + 1].splitlines()


@pytest.mark.slow
def test_killed_it_repeats_its_decisions_and_goes_on(
    searched: tuple[ProjectFolder, Any], tmp_path: Path
) -> None:
    """kill -9 after a few decisions: what was asked stays asked, in its order, to the whole end."""
    folder = make_project(tmp_path / "project")
    shutil.copytree(searched[0].root / "data", folder.root / "data", dirs_exist_ok=True)
    command = ["tune", "--json", *overrides(*HALVED)]
    process = folder.start(*command)
    while len(journal(folder.root)) < 7 and process.poll() is None:
        psutil.Process().cpu_percent(interval=0.02)
    family = psutil.Process(process.pid).children(recursive=True)
    process.kill()
    process.communicate()
    psutil.wait_procs(family, timeout=10)
    before = journal(folder.root)

    resumed = folder.pitchpipe(*command)

    assert resumed.code == 0, resumed.err
    after = journal(folder.root)
    assert after[: len(before)] == before
    asked = [json.loads(line) for line in after]
    keys = [(line["number"], line["budget"]) for line in asked if line["kind"] == "asked"]
    assert len(keys) == len(set(keys))
    assert sorted(keys) == sorted(
        (line["number"], line["budget"]) for line in asked if line["kind"] == "told"
    )
    again = folder.pitchpipe(*command).document
    assert [essence(entry) for entry in again["leaderboard"]] == [
        essence(entry) for entry in resumed.document["leaderboard"]
    ]


CONFIRMED = (
    *SPACE[:-2],
    "search.trials=3",
    SPACE[-1],
    "search.epochs=1",
    "search.confirm={top: 2, seeds: 2}",
)


def test_the_best_are_trained_again_with_other_seeds(searched: tuple[ProjectFolder, Any]) -> None:
    """Foreseen, trained like any trial, shown; the configured seed's trial is selected."""
    folder, _ = searched

    foreseen = folder.pitchpipe("tune", "--dry-run", "--json", *overrides(*CONFIRMED)).document
    document = folder.pitchpipe("tune", "--json", *overrides(*CONFIRMED)).document
    again = folder.pitchpipe("tune", *overrides(*CONFIRMED))

    first, second = document["confirmation"]
    assert foreseen["trials"]["total"] == document["trials"]["total"] == 7
    assert foreseen["trials"]["trained"] == document["trials"]["trained"]
    assert document["best"]["key"] == first["key"] == document["leaderboard"][0]["key"]
    assert document["best"]["config"]["seed"] == 0
    assert (first["seeds"], second["seeds"], len(document["leaderboard"])) == (2, 2, 3)
    assert first["mean"]["cross_entropy"] <= second["mean"]["cross_entropy"]
    assert document["optimism"] is None
    shown = " ".join(again.out.split())
    assert "Confirmation: selected by the mean cross-entropy over 2 other seeds" in shown
    assert "7 trials: 0 trained, 7 cached" in shown


@pytest.mark.slow
def test_killed_while_it_confirms_it_goes_on_to_the_same_bits(
    searched: tuple[ProjectFolder, Any], tmp_path: Path
) -> None:
    """kill -9 once a trial of another seed is there: the same means, to the last digit."""
    asked = (*CONFIRMED[:-2], "search.epochs=3", CONFIRMED[-1])
    documents = []
    for name in ("whole", "killed"):
        folder = make_project(tmp_path / name)
        shutil.copytree(searched[0].root / "data", folder.root / "data", dirs_exist_ok=True)
        if name == "killed":
            process = folder.start("run", "--json", *overrides(*asked))
            while len(list(folder.root.glob("mlruns/trials/*/result.json"))) < 4:
                assert process.poll() is None
                psutil.Process().cpu_percent(interval=0.02)
            family = psutil.Process(process.pid).children(recursive=True)
            process.kill()
            process.communicate()
            psutil.wait_procs(family, timeout=10)
        ran = folder.pitchpipe("run", "--json", *overrides(*asked))
        assert ran.code in (0, 3), ran.err
        documents.append(ran.document)
        page = (folder.root / ran.document["report"]).read_text()
        assert "Trained again with other seeds" in page
        assert "nothing changed" in folder.pitchpipe("run", *overrides(*asked)).out

    assert documents[0]["confirmation"] == documents[1]["confirmation"]
    assert documents[0]["test"] == documents[1]["test"]
    changed = (*asked[:-1], "search.confirm={top: 1, seeds: 2}")
    foreseen = folder.pitchpipe("run", "--dry-run", "--json", *overrides(*changed)).document
    assert foreseen["decision"]["reason"] == "changed: params"
    assert foreseen["trials"]["trained"] == 0


def test_a_search_ends_with_its_epochs(searched: tuple[ProjectFolder, Any]) -> None:
    """Three trials of two epochs are six; a seventh epoch is not begun. Cached ones count too."""
    folder, _ = searched
    limited = (*SPACE, "search.epochs=2", "search.max_epochs_total=7")

    document = folder.pitchpipe("tune", "--json", *overrides(*limited)).document

    assert (document["trials"]["total"], document["not_begun"]) == (3, 3)
    assert all(entry["epochs"] == 2 for entry in document["leaderboard"])


def test_a_search_ends_with_its_seconds(searched: tuple[ProjectFolder, Any]) -> None:
    """No trial is begun when time is up; then there is none to select, and that is said."""
    folder, _ = searched
    limited = (*SPACE, "search.seed=1", "search.epochs=2", "search.max_seconds=1.0e-9")

    ran = folder.pitchpipe("tune", "--json", *overrides(*limited))

    assert ran.code == 1
    assert "search.max_seconds ended the search before its first trial; raise it" in ran.err


def test_a_search_that_learns_is_foreseen_and_goes_on(
    searched: tuple[ProjectFolder, Any],
) -> None:
    """Its first ten are of a random search, six of which are there; two more are two more."""
    folder, _ = searched
    learning = (*SPACE, "search.strategy=tpe", "search.epochs=1", "search.ahead=2")
    eleven, thirteen = (overrides(*learning, f"search.trials={n}") for n in (11, 13))

    before = folder.pitchpipe("tune", "--dry-run", "--json", *eleven).document
    ran = folder.pitchpipe("tune", "--json", *eleven)
    after = folder.pitchpipe("tune", "--dry-run", "--json", *thirteen).document
    again = folder.pitchpipe("tune", "--json", *eleven).document

    assert ran.code == 0, ran.err
    assert ran.document["trials"]["total"] == before["trials"]["total"] == 11
    assert ran.document["trials"]["trained"] == before["trials"]["trained"] <= 5
    assert before["later"] + len(before["labels"]) == before["trials"]["trained"]
    assert after["trials"] | {"trained": 2, "cached": 11, "total": 13} == after["trials"]
    assert again["trials"]["cached"] == 11


def test_two_trials_are_compared(searched: tuple[ProjectFolder, Any]) -> None:
    """What they differ in, both scores and their difference, both curves; within 80 columns."""
    folder, document = searched
    keys = [entry["key"] for entry in document["leaderboard"]]
    best, worst = keys[0], keys[-1]

    compared = folder.pitchpipe("trials", "compare", best[:10], worst[:10], "--json").document
    shown = folder.pitchpipe("trials", "compare", best[:10], worst[:10])
    same = folder.pitchpipe("trials", "compare", best[:10], best[:11])

    assert [trial["key"] for trial in compared["trials"]] == [best, worst]
    rates = [trial["config"]["optimizer"]["learning_rate"] for trial in compared["trials"]]
    assert compared["differences"] == {"optimizer.learning_rate": rates}
    accuracy = compared["scores"]["accuracy"]
    assert accuracy["difference"] == accuracy["values"][1] - accuracy["values"][0] < 0
    assert "validation accuracy" in shown.out
    assert all(len(line) <= 80 for line in shown.out.splitlines())
    assert same.code == 2
    assert "are the same trial" in same.err


def test_trials_say_where_they_come_from(searched: tuple[ProjectFolder, Any]) -> None:
    """Cached: a run of now would take it. Once the data is another, it is of other data."""
    folder, document = searched
    keys = {entry["key"] for entry in document["leaderboard"]}
    prepared = folder.root / "data/prepared/manifest.json"
    text = prepared.read_text()

    here = folder.pitchpipe("trials", "--json").document
    prepared.unlink()
    try:
        elsewhere = folder.pitchpipe("trials", "--all", "--json").document
    finally:
        prepared.write_text(text)

    assert {row["from"] for row in here if row["key"] in keys} == {"cached"}
    assert {(row["from"], row["cached"]) for row in elsewhere} == {("other data", False)}
