"""`pitchpipe explain`: a page of maps that is logged, repeats to the bit, and moves nothing."""

import json
from pathlib import Path

import pytest
from evaluation_fixtures import Sources
from registry_records import BARS, Command

from flows.tracking.store import Tracking, open_tracking
from models.evaluation.explanation.records import METHODS

pytest_plugins = ["registry_fixtures", "registry_project"]


def test_the_page_is_logged_and_the_same_seed_gives_the_same_bits(
    bars: Path, pitchpipe: Command
) -> None:
    """Maps of an untrained network by all methods; no ledger, no alias, no look."""
    code, out, err = pitchpipe("explain", "2", "--images", "4", "--json")
    found = json.loads(out)
    page = Path(found["page"])
    first = {path.name: path.read_bytes() for path in page.parent.iterdir()}
    again = pitchpipe("explain", "2", "--images", "4")

    assert (code, again[0]) == (0, 0), err
    assert [one["method"] for one in found["methods"]] == list(METHODS)
    assert found["images"] == len(found["shown"]) == 4
    assert page.is_relative_to(bars / "mlruns/reports/bars-classifier/2")
    assert {path.name: path.read_bytes() for path in page.parent.iterdir()} == first
    assert set(first) == {"explanation.html", "explanation.json"}
    assert len(Sources(page.read_text()).fetched) == 4 * (1 + 3)
    assert "Occlusion" in again[1]
    assert again[1].strip().endswith(str(page))
    assert logged(open_tracking(BARS)) == set(first)
    assert not (bars / "mlruns/ledger.jsonl").exists()


def logged(tracking: Tracking) -> set[str]:
    run_id = tracking.client.get_model_version(BARS, "2").run_id
    assert run_id is not None
    files = tracking.client.list_artifacts(run_id, "explanation")
    return {Path(file.path).name for file in files}


def test_another_seed_judges_by_other_images(bars: Path, pitchpipe: Command) -> None:
    """A method alone; the images shown are the same, the most surprising."""
    del bars
    one, other = (
        json.loads(
            pitchpipe(
                "explain", "2", "--images", "3", "--method", "grad_cam", "--seed", seed, "--json"
            )[1]
        )
        for seed in ("0", "1")
    )
    assert one["shown"] == other["shown"]
    assert [found["method"] for found in one["methods"]] == ["grad_cam"]
    assert one["methods"] != other["methods"]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("1",), "version 1 of bars-classifier: its network cannot be built again here"),
        (("2", "--method", "lime"), "--method lime: is none of occlusion, integrated_gradients"),
        (("2", "--images", "0"), "--images 0: must be from 1 to 500"),
        (("7",), "has no version '7'"),
    ],
)
def test_what_cannot_be_explained_is_refused(
    pitchpipe: Command, arguments: tuple[str, ...], said: str
) -> None:
    code, out, err = pitchpipe("explain", *arguments)

    assert (code, out) == (2, "")
    assert said in err
    assert err.count("\n") == 1


def test_without_the_extra_it_says_how_to_install_it(
    pitchpipe: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Before anything is loaded."""
    monkeypatch.setattr("importlib.util.find_spec", lambda _: None)

    code, _, err = pitchpipe("explain", "7")

    assert code == 2
    assert err == (
        "pitchpipe: attribution maps need captum, which is not installed; "
        "`make install EXTRAS=explain` in the checkout of pitchpipe\n"
    )
