"""The learning curve of the store: which trials are points of it, and when there is none."""

from datetime import UTC, datetime
from pathlib import Path

import pytest
from data_value_fixtures import value

from flows.datasets.files import SAMPLE_SHEETS
from flows.records.data_value import latest_value, remember_value
from flows.records.trial_store import StoredTrial
from flows.retraining import data_worth as worth
from flows.retraining.expected_gain import expected_gain
from models.config import DataParams, Params, TrialConfig
from models.datasets.prepared import Dropped, Manifest, SplitInfo
from models.decision import Completed, Fingerprint, NewData
from models.trials import Scores, TrialResult, TrialSpec


def manifest(size: int) -> Manifest:
    """Arrays with so many train images."""
    split = SplitInfo(images=size, digest="", arrays={}, class_counts=())
    return Manifest(
        name="digits",
        digest=f"{size}",
        raw_digest=f"raw {size}",
        classes=("0", "1"),
        image_size=8,
        channels=1,
        mean=(0.5,),
        std=(0.5,),
        splits={"train": split},
        images=size,
        dropped=Dropped(),
        params=DataParams(),
    )


def trial(
    size: int,
    error: float,
    *,
    seed: int = 0,
    minibatch: int = 32,
    budget: int = 1,
    refit: bool = False,
) -> StoredTrial:
    """A finished trial on so many images."""
    config = TrialConfig(seed=seed, minibatch_size=minibatch)
    spec = TrialSpec(config=config, dataset=f"{size}", source="", versions={}, refit=refit)
    scores = Scores(accuracy=1 - error, f1_macro=0, cross_entropy=0)
    outcome = TrialResult(
        key="",
        config=config,
        budget=budget,
        epochs=budget,
        best_epoch=1,
        scores=scores,
        seconds=1,
        checkpoint="",
        checkpoint_digest="",
        weights_digest="",
    )
    return StoredTrial(spec=spec, key="", outcome=outcome, history=())


@pytest.fixture(autouse=True)
def _trained_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Three sizes, the last retraining on the largest."""
    monkeypatch.chdir(tmp_path)
    for size in (100, 400, 1600):
        path = SAMPLE_SHEETS / f"{size}" / "manifest.json"
        path.parent.mkdir(parents=True)
        path.write_text(manifest(size).model_dump_json())
    last = Completed(
        fingerprint=Fingerprint(data="raw 1600", params="", source="", environment=""),
        finished=datetime.now(UTC),
        verdict="HOLD",
        version=1,
        champion=1,
    )
    monkeypatch.setattr(worth, "last_of_name", lambda _: last)


def weighed(monkeypatch: pytest.MonkeyPatch, *trials: StoredTrial) -> worth.DataWorth:
    monkeypatch.setattr(worth, "stored_trials", lambda: list(trials))
    return worth.data_worth(Params(), manifest(6400), new=None, gate=None)


def test_the_curve_is_of_the_config_with_most_sizes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of any seed; another config is no point, nor is a dataset that nothing tells of."""
    points = [trial(100, 0.1), trial(400, 0.05, seed=7), trial(1600, 0.025)]
    others = [trial(100, 0.9, minibatch=16), trial(999, 0.9)]

    found = weighed(monkeypatch, *points, *others)

    assert found.curve is not None
    assert found.curve.trials == 3
    assert found.curve.gain == pytest.approx(0.0125)


def test_refits_and_other_budgets_of_epochs_are_no_points(monkeypatch: pytest.MonkeyPatch) -> None:
    """More epochs or more images make an error smaller, whatever the data is worth."""
    points = [trial(100, 0.1), trial(400, 0.05), trial(1600, 0.025)]
    longer = [trial(400, 0.001, budget=9), trial(1600, 0.0001, budget=9)]
    refits = [trial(size, 0.0001, refit=True) for size in (100, 400, 1600)]

    found = weighed(monkeypatch, *longer, *refits, *points).curve

    assert found is not None
    assert (found.sizes, found.trials) == (3, 3)
    assert found.gain == pytest.approx(0.0125)
    assert weighed(monkeypatch, *longer, *refits, points[0]).curve is None


def test_two_sizes_are_no_curve(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is extrapolated; the words say unmeasured."""
    found = weighed(monkeypatch, trial(100, 0.1), trial(400, 0.05), trial(400, 0.04, seed=1))

    assert found.curve is None
    assert "unmeasured" in found.sentence


def test_what_was_measured_on_fractions_counts_before_what_is_found(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The newest answer about this dataset; one about another says nothing."""
    params, new = Params(), NewData(images=1000, before=5000)
    answer = value(name=params.registered_name, dataset="digits")
    remember_value(answer)
    remember_value(answer.model_copy(update={"id": "00" * 32, "dataset": "pets"}))
    monkeypatch.setattr(worth, "stored_trials", list)

    found = worth.data_worth(params, manifest(6400), new=new, gate=None)
    promised = expected_gain(params, new)

    assert found.curve is not None
    assert promised is not None
    assert found.curve.gain == promised.gain == answer.expected(1000).value
    assert (found.curve.sizes, found.curve.trials) == (4, 12)
    assert promised.detectable is None
    assert latest_value(params.registered_name, "cats") is None
    assert expected_gain(params, NewData(images=0, before=5000)) is None
    assert expected_gain(params, None) is None
