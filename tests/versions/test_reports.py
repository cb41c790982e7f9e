"""`pitchpipe report` and `card`: what people look at before they trust a version."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
from evaluation_fixtures import Sources
from registry_records import BARS, Command

from flows.registry.listing import find_version
from flows.tracking.store import open_tracking
from flows.versions.reports import renew_copy

pytest_plugins = ["registry_fixtures", "registry_project"]


def test_a_report_that_mlflow_has_is_fetched(bars: Path, pitchpipe: Command) -> None:
    """Its path is printed, and nothing else; it lies in the project."""
    code, out, err = pitchpipe("report", "1")

    assert code == 0, err
    page = Path(out.strip())
    assert page.read_text() == "<p>fine</p>"
    assert page.is_relative_to(bars)


def test_a_report_that_was_added_to_is_renewed_in_mlflow(
    bars: Path, pitchpipe: Command, caplog: pytest.LogCaptureFixture
) -> None:
    """With what lies beside it; where MLflow refuses, it is said that the copy is older."""
    page = Path(pitchpipe("report", "1")[1].strip())
    page.write_text("<p>fine</p><h2>Value of data</h2>")
    page.with_name("triage.html").write_text("labels")
    tracking = open_tracking(BARS)
    record = find_version(tracking, 1)

    renew_copy(tracking, record, page)
    [copy] = (bars / "mlruns/artifacts").glob(f"*/{record.run_id}/artifacts/report/report.html")
    shown = copy.read_text(), copy.with_name("triage.html").read_text()
    said_before = caplog.text
    renew_copy(tracking, replace(record, run_id="0" * 32), page)
    renew_copy(tracking, replace(record, run_id=None), page)

    assert shown == (page.read_text(), "labels")
    assert said_before == ""
    assert caplog.text.count(f"{page} is newer than its copy in MLflow") == 1


def test_two_versions_are_compared_image_by_image(pitchpipe: Command) -> None:
    """The one that names every bar rightly against the untrained one: nothing is broken."""
    code, out, _ = pitchpipe("report", "--compare", "1", "2", "--json")
    back = pitchpipe("report", "--compare", "2", "1")[1].strip()

    text, other = (Sources(Path(path).read_text()).text for path in (json.loads(out)["page"], back))

    assert code == 0
    assert "version 1 against version 2 on the same" in text
    assert "Broken: 0" in text
    assert "Fixed: 0" in other
    assert "no look at the test split was counted" in text


def test_a_comparison_has_what_the_ledger_says_of_the_two(pitchpipe: Command) -> None:
    """In either order; of other versions it says nothing, and the gate is not asked again."""
    pitchpipe("promote", "2", "--force", "--reason", "the first")
    pitchpipe("promote", "1", "--force", "--reason", "it names every bar")

    for order in (("1", "2"), ("champion", "2"), ("2", "1")):
        page = pitchpipe("report", "--compare", *order)[1].strip()
        text = Sources(Path(page).read_text()).text
        assert "version 1 against version 2: promote: forced, without the gate: it names" in text
        assert "the first" not in text
        assert "the gate was not asked again, and no look at the test split was counted" in text


@pytest.mark.parametrize("pair", [("2", "2"), ("challenger", "2")])
def test_a_version_is_not_compared_with_itself(pitchpipe: Command, pair: tuple[str, str]) -> None:
    """Whatever it is called; one message with the way out."""
    code, out, err = pitchpipe("report", "--compare", *pair)

    assert (code, out) == (2, "")
    assert f"--compare {' '.join(pair)}: both are version 2 of bars-classifier; name two" in err


def test_fixed_and_broken_images_have_maps_of_both_where_networks_are_built_again(
    pitchpipe: Command,
) -> None:
    """Version 1 is none of ours: the page says so; nothing fails for its pictures."""
    page = pitchpipe("report", "--compare", "1", "2")[1].strip()

    assert (
        "Without attribution maps: version 1 of bars-classifier: its network"
        in Sources(Path(page).read_text()).text
    )


def test_a_version_or_trial_that_is_not_there_is_refused(pitchpipe: Command) -> None:
    code, _, err = pitchpipe("report", "7")
    assert code == 2
    assert "has no version '7'" in err
    code, _, err = pitchpipe("report", "abcdef")
    assert code == 2
    assert "no trial's key begins with 'abcdef'" in err


def test_a_card_says_what_a_version_is_for_and_how_sure_its_scores_are(pitchpipe: Command) -> None:
    """Use, data, scores, limits, verdict and lineage, as Markdown; a verdict once there is one."""
    before = pitchpipe("card", "1")[1]
    pitchpipe("promote", "1", "--force", "--reason", "it | is *right*")
    code, after, _ = pitchpipe("card")

    assert code == 0
    for heading in ("Intended use", "Data", "Scores", "Limits", "Verdict", "Environment"):
        assert f"\n## {heading}\n" in after
    assert after.startswith("# bars-classifier, version 1\n")
    assert "| Accuracy | 0.9000 | 0.8000 to 0.9500 |" in after
    assert "The ledger says nothing of this version." in before
    assert "**promote**, " in after
    assert r"it \| is \*right\*" in after
