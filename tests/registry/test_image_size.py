"""A project whose data.image_size and data.channels change: earlier versions are still compared."""

import shutil

import pytest
from project_folder import QUICK, ProjectFolder, Ran, overrides

LARGER = ("data.image_size=32", "data.channels=3")


@pytest.fixture(scope="module")
def changed(
    retrained: tuple[ProjectFolder, Ran],
    tmp_path_factory: pytest.TempPathFactory,
    prefect_api: str,
) -> tuple[ProjectFolder, Ran, Ran]:
    """The digits retrained at 28 pixels in grey, then at 32 pixels in colour."""
    origin, before = retrained
    root = tmp_path_factory.mktemp("changed") / "project"
    folder = ProjectFolder(root, {"PREFECT_API_URL": prefect_api})
    shutil.copytree(origin.root, folder.root)
    return folder, before, folder.pitchpipe("run", "--json", *overrides(*QUICK, *LARGER))


def test_the_gate_compares_both_on_the_same_images(
    changed: tuple[ProjectFolder, Ran, Ran],
) -> None:
    """The verdict rests on a paired test, and not on a champion that could not be scored."""
    _, before, after = changed
    assert after.code in (0, 3), after.err
    judged = after.document
    rules = {rule["rule"]: rule for rule in judged["rules"]}
    assert judged["version"] == 2
    assert "accuracy_shown_better" in rules
    assert "champion_usable" not in rules
    assert judged["dataset"] == before.document["dataset"]


def test_the_earlier_version_is_evaluated_with_the_scores_it_had(
    changed: tuple[ProjectFolder, Ran, Ran],
) -> None:
    """Today's test split, made at its own size, is the very images that it was tested on."""
    folder, before, _ = changed
    found = folder.pitchpipe("evaluate", "1", "--json")
    assert found.code == 0, found.err
    expected = before.document["test"]
    assert {name: found.document[name] for name in expected} == expected


def test_the_earlier_version_is_monitored(changed: tuple[ProjectFolder, Ran, Ran]) -> None:
    """Its validation images are made at its own size; the same images are no drift."""
    folder, _, _ = changed
    found = folder.pitchpipe("monitor", "data/raw/digits", "--version", "1", "--json")
    assert found.code == 0, found.err
    assert found.document["drift"] is False
