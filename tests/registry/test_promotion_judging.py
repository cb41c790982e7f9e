"""Judging: champion and challenger scored on today's test split, or an answer why not."""

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from registry_records import (
    BARS,
    BarsNetwork,
    bars_registration,
    random_images,
    registration,
    serving_network,
)

from flows.records.lineage import Lineage
from flows.registry.listing import aliases
from flows.registry.loading import load_version
from flows.registry.promotion.aliases import HandMovedError
from flows.registry.promotion.commands import adopt_champion, force_promotion, settle
from flows.registry.promotion.judge import judge
from flows.registry.registering import register
from flows.tracking.store import Tracking
from models.config.policies import GateParams
from models.datasets.prepared import open_split
from models.errors import IntegrityError, PitchpipeError
from models.gate import GateDecision

pytest_plugins = ["registry_fixtures", "registry_project"]

GATE = GateParams()
PREPARED = Path("data/prepared")
RIGHT, UNTRAINED = 1, 2


def failed(decision: GateDecision) -> set[str]:
    return {reason.rule for reason in decision.reasons if not reason.passed}


def run_of(tracking: Tracking) -> str:
    run_id = tracking.client.get_model_version(BARS, "1").run_id
    assert run_id is not None
    return run_id


def register_wide(tracking: Tracking) -> int:
    """A version that takes images of 12 pixels a side, where today's have 8."""
    wide = dataclasses.replace(
        registration(run_of(tracking), seed=9),
        serving=serving_network(9, side=12),
        example=random_images(4, side=12),
    )
    return register(tracking, wide)


class UpsideDown(BarsNetwork):
    """As right, but from before the classes had today's order."""

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return super().forward(images).flip(1)


def register_of_classes(tracking: Tracking, *classes: str) -> int:
    """A version of these classes, the last of them at the top."""
    given = bars_registration(UpsideDown().eval(), run_of(tracking), seed=11)
    return register(tracking, dataclasses.replace(given, classes=classes))


def test_a_version_from_before_the_classes_changed_order_is_judged_by_name(
    bars_tracking: Tracking,
) -> None:
    """A batch may bring a class that moves the others: columns go by name, not by place."""
    older = register_of_classes(bars_tracking, "bottom", "middle", "top")
    force_promotion(bars_tracking, older, reason="first")
    against = judge(bars_tracking, RIGHT, GATE).decision
    assert against.verdict == "HOLD"
    assert against.comparison is not None
    assert (against.comparison.both_right, against.comparison.images) == (6, 6)
    force_promotion(bars_tracking, UNTRAINED, reason="worse")
    assert "accuracy_over_majority" not in failed(judge(bars_tracking, older, GATE).decision)


@pytest.mark.parametrize(
    ("classes", "said"),
    [
        (("bottom", "middle", "roof"), "does not know class top"),
        (("bottom", "middle", "top", "side"), "knows class side"),
    ],
)
def test_a_version_of_other_classes_is_not_compared(
    bars_tracking: Tracking, classes: tuple[str, ...], said: str
) -> None:
    """As champion it is held, as challenger it is an error; both name the class."""
    other = register_of_classes(bars_tracking, *classes)
    with pytest.raises(PitchpipeError, match=said):
        judge(bars_tracking, other, GATE)
    force_promotion(bars_tracking, other, reason="first")
    decision = judge(bars_tracking, RIGHT, GATE).decision
    assert (decision.verdict, failed(decision)) == ("HOLD", {"champion_usable"})
    assert said in decision.text


def test_a_champion_of_another_release_is_not_compared(
    bars_tracking: Tracking, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its lineage has a key that this release does not know: held, in one sentence."""
    write = Lineage.model_dump_json

    def newer(self: Lineage, **options: Any) -> str:
        return write(self, **options).replace("{", '{"invented_later": 1,', 1)

    twin = bars_registration(BarsNetwork().eval(), run_of(bars_tracking), seed=5)
    with monkeypatch.context() as patch:
        patch.setattr(Lineage, "model_dump_json", newer)
        champion = register(bars_tracking, twin)
    force_promotion(bars_tracking, champion, reason="first")
    decision = judge(bars_tracking, RIGHT, GATE).decision
    assert (decision.verdict, failed(decision)) == ("HOLD", {"champion_usable"})
    assert "written by another release" in decision.text
    with pytest.raises(IntegrityError, match=r"version 3.*lineage\.json: invented_later"):
        _ = load_version(bars_tracking, champion).files.lineage


def test_without_a_champion_the_floors_decide(bars_tracking: Tracking) -> None:
    """An untrained network does not pass them; one that is right does, and serves."""
    refused = judge(bars_tracking, UNTRAINED, GATE)
    assert refused.decision.verdict == "REJECT"
    assert settle(bars_tracking, refused, GATE).after is None
    passed = judge(bars_tracking, RIGHT, GATE)
    assert (passed.champion, passed.decision.verdict) == (None, "PROMOTE")
    assert settle(bars_tracking, passed, GATE).after == RIGHT
    assert aliases(bars_tracking)["champion"] == RIGHT


def test_an_equal_of_the_champion_is_held(bars_tracking: Tracking) -> None:
    """Equal predictions on today's test images: ties stay."""
    force_promotion(bars_tracking, RIGHT, reason="first")
    twin = bars_registration(BarsNetwork().eval(), run_of(bars_tracking), seed=5)
    judgement = judge(bars_tracking, register(bars_tracking, twin), GATE)
    assert (judgement.champion, judgement.decision.verdict) == (RIGHT, "HOLD")
    assert judgement.decision.comparison is not None
    assert judgement.decision.comparison.both_right == 6


def test_a_champion_trained_on_todays_test_images_is_not_compared(bars_tracking: Tracking) -> None:
    """Its ids are kept with it, so that the gate knows."""
    seen = np.array(open_split(PREPARED, "test", verify=False).ids)
    leaky = bars_registration(BarsNetwork().eval(), run_of(bars_tracking), seed=7)
    leaky = dataclasses.replace(leaky, trained_ids=seen)
    force_promotion(bars_tracking, register(bars_tracking, leaky), reason="before the test grew")
    decision = judge(bars_tracking, RIGHT, GATE).decision
    assert (decision.verdict, failed(decision)) == ("HOLD", {"champion_unseen"})


def test_a_champion_of_another_shape_is_not_compared(bars_tracking: Tracking) -> None:
    """The gate says why, and the champion stays."""
    force_promotion(bars_tracking, register_wide(bars_tracking), reason="first")
    decision = judge(bars_tracking, RIGHT, GATE).decision
    assert (decision.verdict, failed(decision)) == ("HOLD", {"champion_usable"})
    assert "takes images of (1, 12, 12)" in decision.text


def test_a_champion_whose_files_are_damaged_is_not_compared(bars_tracking: Tracking) -> None:
    """No crash, no promotion; the reason is told."""
    force_promotion(bars_tracking, UNTRAINED, reason="first")
    source = bars_tracking.client.get_model_version(BARS, str(UNTRAINED)).source or ""
    [weights] = Path("mlruns/artifacts").rglob(f"{source.rpartition('/')[2]}/**/model.pt2")
    weights.write_bytes(b"damaged")
    decision = judge(bars_tracking, RIGHT, GATE).decision
    assert (decision.verdict, failed(decision)) == ("HOLD", {"champion_usable"})


def test_a_challenger_that_cannot_be_loaded_is_an_error(bars_tracking: Tracking) -> None:
    """There is nothing to judge."""
    for weights in Path("mlruns/artifacts").rglob("model.pt2"):
        weights.write_bytes(b"damaged")
    with pytest.raises(IntegrityError):
        judge(bars_tracking, RIGHT, GATE)


def test_a_challenger_of_another_shape_is_an_error_with_a_way_out(bars_tracking: Tracking) -> None:
    """It does not take the images that are prepared now."""
    with pytest.raises(PitchpipeError, match="prepare the data"):
        judge(bars_tracking, register_wide(bars_tracking), GATE)


def test_nothing_is_judged_against_a_champion_set_by_hand(bars_tracking: Tracking) -> None:
    """First somebody says what that was."""
    bars_tracking.client.set_registered_model_alias(BARS, "champion", str(UNTRAINED))
    with pytest.raises(HandMovedError):
        judge(bars_tracking, RIGHT, GATE)
    adopt_champion(bars_tracking)
    assert judge(bars_tracking, RIGHT, GATE).champion == UNTRAINED
