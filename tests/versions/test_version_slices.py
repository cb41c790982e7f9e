"""Slices where users meet them: `pitchpipe slices`, report, card, the version's own files."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from project_folder import ProjectFolder, Ran
from registry_records import Command, answer, registration

from flows.cli.display.slices import print_slices
from flows.registry.loading import open_version
from flows.registry.registering import register
from flows.tracking.runs import Runs
from flows.tracking.store import Tracking
from flows.versions.card import card_of
from flows.versions.slices import VersionSlices
from models.evaluation.slices.membership import Slice
from models.evaluation.slices.records import SliceReport
from models.evaluation.slices.scoring import score_slices

pytest_plugins = ["registry_fixtures", "registry_project"]


def report(*, wrong: int = 15) -> SliceReport:
    """Of 200 images some of the first forty are wrong, which are those of one batch."""
    found = [
        Slice("batch", "new *ones*", np.arange(40)),
        Slice("batch", "old", np.arange(40, 200)),
        Slice("brightness", "<= 51.25", np.arange(0, 200, 2), edges=(3.0, 51.25)),
        Slice("class", "rare", np.arange(5)),
    ]
    return score_slices(np.arange(200) >= wrong, found)


def test_a_table_shows_worse_slices_first_within_80_columns(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Marked; with the sentence, and what was not tested."""
    monkeypatch.setenv("COLUMNS", "80")
    print_slices(VersionSlices(name="cats", version=3, dataset="d", report=report()))
    lines = capsys.readouterr().out.splitlines()

    assert lines[0] == "version 3 of cats: accuracy 0.9250 on 200 test images"
    assert lines[3].split()[:6] == ["batch", "new", "*ones*", "*", "40", "0.6250"]
    assert max(map(len, lines)) <= 80
    said = " ".join(lines)
    assert "Of 3 slices 1 is worse than the rest" in said
    assert "1 slices of fewer than 20 images" in said


def test_slices_of_a_version_are_scored_and_the_gate_is_not_asked(
    bars: Path, pitchpipe: Command
) -> None:
    """Six test images are too few for any slice, and the ledger hears of nothing."""
    ledger = bars / "mlruns/ledger.jsonl"
    before = ledger.read_bytes() if ledger.exists() else None
    found = answer(pitchpipe, "slices", "1")
    text = pitchpipe("slices", "1")[1]

    assert (found["version"], found["report"]["images"], found["report"]["slices"]) == (1, 6, [])
    assert found["report"]["origins"] is False
    assert "none is tested" in text
    assert "`pitchpipe prepare` finds them" in " ".join(text.split())
    assert (ledger.read_bytes() if ledger.exists() else None) == before
    assert pitchpipe("slices", "7")[0] == 2


def test_a_version_keeps_its_slices_and_its_card_names_the_worst(tracking: Tracking) -> None:
    """With its interval; a version without any says nothing. The identity is the same."""
    run_id = Runs(tracking).create("a retraining", tags={}, at=1)
    plain = registration(run_id)
    sliced = replace(registration(run_id, seed=1), slices=report())
    without, kept = (open_version(tracking, register(tracking, one)) for one in (plain, sliced))

    assert replace(plain, slices=report()).digest == plain.digest
    assert without.slices is None
    assert "slice" not in card_of(without)
    assert kept.slices == report()
    assert r"- weakest slice: batch new \*ones\*: accuracy 0.625" in card_of(kept)
    assert "(of 3 slices, 5 % for all of them)" in card_of(kept)


def test_a_retraining_scores_slices_and_a_second_look_finds_the_same(
    retrained: tuple[ProjectFolder, Ran],
) -> None:
    """In the report, beside it, in the version, and by the command on the same test images."""
    folder, _ = retrained
    shown = folder.pitchpipe("report", "1", "--json").document
    asked = folder.pitchpipe("slices", "1", "--json").document
    page = Path(shown["page"]).read_text()

    assert asked["report"] == shown["slices"]
    assert json.loads(Path(shown["page"]).with_name("slices.json").read_text()) == shown["slices"]
    kinds = {one["kind"] for one in shown["slices"]["slices"]}
    assert kinds >= {"class", "brightness", "contrast"}
    assert shown["slices"]["origins"] is True
    assert '<section id="slices">' in page
    assert SliceReport.model_validate_json(json.dumps(shown["slices"])).sentence in (
        page.replace("&#39;", "'")
    )
