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

from flows.cli.display.retraining import print_forecast
from flows.records.lineage import Lineage
from flows.records.looks import GateOutlook, gate_outlook
from flows.records.retraining import TrialCounts
from flows.registry.listing import aliases
from flows.registry.loading import load_version
from flows.registry.promotion.aliases import HandMovedError
from flows.registry.promotion.commands import adopt_champion, force_promotion, settle
from flows.registry.promotion.judge import judge, weigh
from flows.registry.registering import register
from flows.retraining.forecast import Forecast
from flows.tracking.store import Tracking
from models.config.policies import GateParams
from models.datasets.batches import write_batch
from models.datasets.by_id import prints_of
from models.datasets.labelled_images import SPLITS, PixelRows
from models.datasets.prepared import open_split, read_manifest
from models.decision import Decision
from models.errors import IntegrityError, PitchpipeError
from models.gate.budget import level_of
from models.gate.paired import detectable_lead
from models.gate.records import GateDecision, UnseenImages

pytest_plugins = ["registry_fixtures", "registry_project"]

GATE = GateParams(minimum_test_images=1)
PREPARED = Path("data/prepared")
RIGHT, UNTRAINED = 1, 2


def failed(decision: GateDecision) -> set[str]:
    return {reason.rule for reason in decision.rules if not reason.passed}


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
    assert said in " ".join(decision.reasons)


def test_the_champion_weighed_again_is_no_rival_of_its_own(bars_tracking: Tracking) -> None:
    """A why page of it against itself would say nothing, in the place of that of its promotion."""
    force_promotion(bars_tracking, RIGHT, reason="first")

    assert weigh(bars_tracking, RIGHT, GATE).rival is None
    other = weigh(bars_tracking, UNTRAINED, GATE)
    assert other.rival is other.champion
    assert other.rival is not None


def test_the_champion_is_scored_on_images_that_it_never_saw(bars_tracking: Tracking) -> None:
    """Of train and validation today, those that it was neither trained nor selected on."""
    train, validation = (
        np.array(open_split(PREPARED, name, verify=False).ids) for name in ("train", "validation")
    )
    champion = register(
        bars_tracking,
        dataclasses.replace(
            bars_registration(BarsNetwork().eval(), run_of(bars_tracking), seed=12),
            trained_ids=np.concatenate([train[7:], validation[5:]]),
            validation_images=len(validation) - 5,
        ),
    )
    assert judge(bars_tracking, champion, GATE).decision.champion_unseen is None
    force_promotion(bars_tracking, champion, reason="first")
    decision = judge(bars_tracking, UNTRAINED, GATE).decision
    assert decision.champion_unseen == UnseenImages(images=12, right=12)


class TopOrMiddle(BarsNetwork):
    """From before there were bars at the bottom."""

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        known = super().forward(images)[:, :2]
        return known / known.sum(dim=1, keepdim=True)


def test_a_champion_from_before_a_class_is_compared_on_the_others(bars_tracking: Tracking) -> None:
    """As challenger it is an error still: it would never name the new class."""
    given = bars_registration(TopOrMiddle().eval(), run_of(bars_tracking), seed=11)
    given = dataclasses.replace(given, classes=("top", "middle"))
    older = register(bars_tracking, given)
    with pytest.raises(PitchpipeError, match="does not know class bottom"):
        judge(bars_tracking, older, GATE)
    force_promotion(bars_tracking, older, reason="first")

    decision = judge(bars_tracking, RIGHT, GATE).decision

    labels = open_split(PREPARED, "test", verify=False).labels
    assert decision.comparison is not None
    assert decision.comparison.images == decision.comparison.both_right
    assert decision.comparison.images == np.count_nonzero(labels != 2)
    assert failed(decision) == {"shared_accuracy_kept"}  # four images show nothing


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
    assert "written by another release" in " ".join(decision.reasons)
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


def test_looks_are_counted_from_the_ledger_and_foretold(
    bars_tracking: Tracking, capsys: pytest.CaptureFixture[str]
) -> None:
    """Each challenger held is a look, judged again it is the same one; a dry run names the next."""
    assert gate_outlook(BARS, read_manifest(PREPARED), GATE) is None
    force_promotion(bars_tracking, RIGHT, reason="first")
    assert gate_outlook(BARS, read_manifest(PREPARED), GATE) == GateOutlook(
        images=6, look=1, looks=365, differing=None, detectable=None
    )
    looks = []
    for seed in (5, 6):
        twin = bars_registration(BarsNetwork().eval(), run_of(bars_tracking), seed=seed)
        version = register(bars_tracking, twin)
        for _ in range(2):
            judgement = judge(bars_tracking, version, GATE)
            settle(bars_tracking, judgement, GATE)
            looks.append(judgement.decision.look)

    told = gate_outlook(BARS, read_manifest(PREPARED), GATE)

    forecast = Forecast(
        decision=Decision(retrain=True, reason="asked for"),
        trials=TrialCounts(),
        labels=(),
        epochs=1,
        seconds=None,
        basis="a guess",
        gate=told,
    )
    assert looks == [1, 1, 2, 2]
    assert told is not None
    assert (told.look, told.differing) == (3, 0.0)
    expected = detectable_lead(6, 0.0, significance=2 * level_of(3, GATE))
    assert told.detectable == pytest.approx(expected)
    assert "look 3 of 365 at these 6 test images; a true lead of" in told.sentence
    by_f1 = gate_outlook(
        BARS, read_manifest(PREPARED), GATE.model_copy(update={"metric": "f1_macro"})
    )
    assert by_f1 is not None
    assert by_f1.sentence == "look 3 of 365 at these 6 test images"
    print_forecast(forecast)
    assert "gate: look 3 of 365" in capsys.readouterr().out


def test_a_split_that_is_used_up_is_foretold(bars_tracking: Tracking) -> None:
    """Before training, it is said that only more images help."""
    force_promotion(bars_tracking, RIGHT, reason="first")
    twin = bars_registration(BarsNetwork().eval(), run_of(bars_tracking), seed=5)
    settle(bars_tracking, judge(bars_tracking, register(bars_tracking, twin), GATE), GATE)

    told = gate_outlook(BARS, read_manifest(PREPARED), GATE.model_copy(update={"looks": 1}))

    assert told is not None
    assert "none is left" in told.sentence


def test_a_champion_trained_on_todays_test_images_is_not_compared(bars_tracking: Tracking) -> None:
    """Its ids are kept with it, so that the gate knows."""
    seen = np.array(open_split(PREPARED, "test", verify=False).ids)
    leaky = bars_registration(BarsNetwork().eval(), run_of(bars_tracking), seed=7)
    leaky = dataclasses.replace(leaky, trained_ids=seen)
    force_promotion(bars_tracking, register(bars_tracking, leaky), reason="before the test grew")
    decision = judge(bars_tracking, RIGHT, GATE).decision
    assert (decision.verdict, failed(decision)) == ("HOLD", {"champion_unseen"})


def test_a_test_image_seen_under_another_id_is_known_by_its_print(bars_tracking: Tracking) -> None:
    """A picture that became the same image was another one: its id tells nothing."""
    test = open_split(PREPARED, "test", verify=False)
    leaky = bars_registration(BarsNetwork().eval(), run_of(bars_tracking), seed=8)
    prints = np.array(leaky.trained_ids)
    prints[:2] = prints_of(test.images[:2])
    leaky = dataclasses.replace(leaky, trained_prints=prints)
    version = register(bars_tracking, leaky)
    force_promotion(bars_tracking, version, reason="before grey copies came")

    decision = judge(bars_tracking, RIGHT, GATE).decision

    assert (decision.verdict, failed(decision)) == ("HOLD", {"champion_unseen"})
    assert "trained on 2 of today's test images" in decision.reasons[0]
    again = judge(bars_tracking, version, GATE).decision
    assert (again.verdict, failed(again)) == ("REJECT", {"unseen_test_images"})


class AnyShape(torch.nn.Module):
    """Right on bars of any size, grey or colour; upside down: it takes top for bottom."""

    def __init__(self, side: int, *, upside_down: bool = False) -> None:
        super().__init__()
        self.starts = [round(row * 3 * side / 8) for row in range(3)]
        self.order = [2, 1, 0] if upside_down else [0, 1, 2]

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        bands = [images[:, :, start : start + 2].float().mean((1, 2, 3)) for start in self.starts]
        return torch.softmax(torch.stack(bands, dim=1) / 10, dim=1)[:, self.order]


def register_of_shape(
    tracking: Tracking, shape: tuple[int, int, int], *, upside_down: bool = False
) -> int:
    """A version that takes images of this shape, where today's are (1, 8, 8)."""
    network = AnyShape(shape[1], upside_down=upside_down).eval()
    given = bars_registration(network, run_of(tracking), seed=13)
    example = np.zeros((4, *shape), np.uint8)
    return register(tracking, dataclasses.replace(given, example=example))


@pytest.fixture
def batches(bars: Path) -> Path:
    """The batch that the prepared bars could have been made from."""
    pieces = []
    for name in SPLITS:
        split = open_split(PREPARED, name, verify=False)
        pixels = np.ascontiguousarray(split.images.transpose(0, 2, 3, 1))
        pieces.append(PixelRows(pixels, split.labels, (name,) * len(pixels)))
    path = bars / "data/raw/bars/bars.parquet"
    path.parent.mkdir(parents=True)
    write_batch(path, read_manifest(PREPARED).classes, pieces)
    return path


@pytest.mark.parametrize("shape", [(1, 12, 12), (3, 8, 8), (3, 12, 12)])
def test_versions_of_two_image_shapes_are_compared_on_the_same_pictures(
    bars_tracking: Tracking, batches: Path, shape: tuple[int, int, int]
) -> None:
    """Each takes them at its own size and with its own channels, as champion and as challenger."""
    assert batches.exists()
    other = register_of_shape(bars_tracking, shape)
    force_promotion(bars_tracking, other, reason="first")
    for challenger in (RIGHT, UNTRAINED):
        judged = judge(bars_tracking, challenger, GATE).decision
        assert "champion_usable" not in failed(judged)
    compared = judge(bars_tracking, RIGHT, GATE).decision
    assert (compared.verdict, failed(compared)) == (
        "HOLD",
        {"accuracy_shown_better", "minimum_effect"},
    )
    assert compared.comparison is not None
    assert (compared.comparison.both_right, compared.comparison.images) == (6, 6)
    force_promotion(bars_tracking, RIGHT, reason="back")
    compared = judge(bars_tracking, other, GATE).decision
    assert compared.comparison is not None
    assert compared.comparison.both_right == 6
    assert list(Path("mlruns").glob(".resizing-*")) == []


def test_pictures_of_two_shapes_are_paired_one_by_one(
    bars_tracking: Tracking, batches: Path
) -> None:
    """The champion errs on every top and bottom, and on no middle: so the counts say."""
    assert batches.exists()
    champion = register_of_shape(bars_tracking, (3, 12, 12), upside_down=True)
    force_promotion(bars_tracking, champion, reason="first")
    found = judge(bars_tracking, RIGHT, GATE).decision.comparison
    labels = open_split(PREPARED, "test", verify=False).labels
    middle = int(np.count_nonzero(labels == 1))
    assert found is not None
    assert (found.both_right, found.champion_only) == (middle, 0)
    assert found.challenger_only == len(labels) - middle > 0


def test_a_champion_of_another_shape_is_not_compared_without_the_batches(
    bars_tracking: Tracking,
) -> None:
    """Its images cannot be made: the gate says why, and the champion stays."""
    force_promotion(bars_tracking, register_wide(bars_tracking), reason="first")
    decision = judge(bars_tracking, RIGHT, GATE).decision
    assert (decision.verdict, failed(decision)) == ("HOLD", {"champion_usable"})
    assert "data/raw/bars: holds no batches" in " ".join(decision.reasons)


def test_latency_is_measured_where_it_is_limited(bars_tracking: Tracking) -> None:
    """Both networks are timed as they are served; by default none is."""
    force_promotion(bars_tracking, UNTRAINED, reason="first")
    timed = judge(bars_tracking, RIGHT, GATE.model_copy(update={"latency_ms": 60_000.0})).decision
    [latency] = [result for result in timed.rules if result.rule == "latency_ms"]
    assert latency.passed
    assert latency.value is not None
    assert 0 < latency.value < 60_000
    assert "the champion's" in latency.text
    slow = judge(bars_tracking, RIGHT, GATE.model_copy(update={"latency_ms": 1e-6})).decision
    assert (slow.verdict, failed(slow)) == ("REJECT", {"latency_ms"})
    untimed = judge(bars_tracking, RIGHT, GATE).decision
    assert "latency_ms" not in {result.rule for result in untimed.rules}


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


def test_a_challenger_without_its_images_is_an_error_with_a_way_out(
    bars_tracking: Tracking,
) -> None:
    """It takes another shape, and the batches to make it from are not there."""
    with pytest.raises(PitchpipeError, match="prepare the data"):
        judge(bars_tracking, register_wide(bars_tracking), GATE)


def test_nothing_is_judged_against_a_champion_set_by_hand(bars_tracking: Tracking) -> None:
    """First somebody says what that was."""
    bars_tracking.client.set_registered_model_alias(BARS, "champion", str(UNTRAINED))
    with pytest.raises(HandMovedError):
        judge(bars_tracking, RIGHT, GATE)
    adopt_champion(bars_tracking)
    assert judge(bars_tracking, RIGHT, GATE).champion == UNTRAINED
