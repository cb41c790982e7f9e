"""The gate's decisions: every case has its verdict, its reason and its numbers."""

import json
import time
from dataclasses import replace
from random import Random

import numpy as np
import pytest
from evaluation_fixtures import guesses, naming
from gate_fixtures import QUICK, pair, surer, version
from hypothesis import given, settings
from hypothesis import strategies as st

from models.config import GateParams
from models.gate.inputs import ChampionUnusable, GateInput
from models.gate.records import GateDecision
from models.gate.verdict import decide

counts = st.integers(0, 60)


def failed(decision: GateDecision) -> list[str]:
    return [reason.rule for reason in decision.rules if not reason.passed]


def promoted() -> tuple[GateInput, GateInput]:
    """60 against 20 of 1,000: four points better, p below 1e-5."""
    return pair(both=900, challenger_only=60, champion_only=20, neither=20)


def test_shown_better_is_promoted_with_its_numbers() -> None:
    decision = decide(*promoted(), QUICK)
    assert decision.verdict == "PROMOTE"
    assert failed(decision) == []
    found = decision.comparison
    assert found is not None
    assert (found.images, found.challenger_only, found.champion_only) == (1000, 60, 20)
    assert found.both_right == 900
    assert found.accuracy == pytest.approx(0.04)
    assert found.p_value < 1e-4
    assert found.accuracy_interval.low > 0
    assert found.f1_macro_interval.low <= found.f1_macro <= found.f1_macro_interval.high


def test_shown_worse_is_rejected() -> None:
    """The same pair with the roles swapped: the champion stays and the challenger is refused."""
    challenger, champion = promoted()
    decision = decide(champion, challenger, QUICK)
    assert decision.verdict == "REJECT"
    assert "accuracy_not_worse" in failed(decision)


def test_one_image_decides_at_the_threshold() -> None:
    """17 against 5 has p = 0.017 and promotes; 16 against 5 has p = 0.027 and holds."""
    enough = decide(*pair(both=378, challenger_only=17, champion_only=5, neither=0), QUICK)
    short = decide(*pair(both=379, challenger_only=16, champion_only=5, neither=0), QUICK)
    assert (enough.verdict, short.verdict) == ("PROMOTE", "HOLD")
    assert failed(short) == ["accuracy_shown_better"]
    assert "p = 0.027" in " ".join(short.reasons)


def test_shown_but_smaller_than_the_minimum_effect_holds() -> None:
    challenger, champion = promoted()
    decision = decide(challenger, champion, QUICK.model_copy(update={"minimum_effect": 0.041}))
    assert decision.verdict == "HOLD"
    assert failed(decision) == ["minimum_effect"]


def test_a_tie_holds() -> None:
    """Also where both differ on many images."""
    decision = decide(*pair(both=500, challenger_only=40, champion_only=40, neither=20), QUICK)
    assert decision.verdict == "HOLD"
    assert decision.comparison is not None
    assert decision.comparison.p_value == 1


def test_better_in_accuracy_but_worse_calibrated_is_rejected() -> None:
    """Mistakes made with certainty cost 36 nats each: 1.4 on average, against 0.3."""
    challenger, champion = promoted()
    decision = decide(surer(challenger, 1.0), surer(champion, 0.95), QUICK)
    assert decision.verdict == "REJECT"
    assert failed(decision) == ["cross_entropy_not_worse"]


def one_class_sacrificed() -> tuple[GateInput, GateInput]:
    """Ten classes of 200: nine gain 10 images each, class 9 loses 60."""
    labels = np.repeat(np.arange(10), 200)
    within = np.tile(np.arange(200), 10)
    champion = np.where(within < 180, labels, (labels + 1) % 10)
    right = within < np.where(labels == 9, 120, 195)
    challenger = np.where(right, labels, (labels + 1) % 10)
    return version(naming(challenger, classes=10), labels), version(
        naming(champion, classes=10), labels
    )


def test_better_on_the_whole_but_worse_in_one_class_is_rejected() -> None:
    challenger, champion = one_class_sacrificed()
    decision = decide(challenger, champion, QUICK)
    assert decision.comparison is not None
    assert decision.comparison.accuracy > 0.03
    assert decision.verdict == "REJECT"
    assert failed(decision) == ["class_recall_not_worse"]
    assert "in class class 9 " in " ".join(decision.reasons)
    lenient = QUICK.model_copy(update={"class_recall_margin": 0.4})
    assert decide(challenger, champion, lenient).verdict == "PROMOTE"


def test_macro_f1_shown_worse_is_rejected() -> None:
    """Gains in a class of 2,000 hide that the class of 200 loses 85: accuracy better, F1 worse."""
    labels = np.repeat([0, 1], [2000, 200])
    within = np.concatenate([np.arange(2000), np.arange(200)])
    champion = np.where(within < np.where(labels == 0, 1900, 180), labels, 1 - labels)
    challenger = np.where(within < np.where(labels == 0, 1990, 95), labels, 1 - labels)
    off = {"class_recall_margin": 1.0, "cross_entropy_margin": 9.0, "accuracy_over_majority": 0.0}
    gate = QUICK.model_copy(update=off)
    decision = decide(
        version(naming(challenger, classes=2), labels),
        version(naming(champion, classes=2), labels),
        gate,
    )
    assert decision.comparison is not None
    assert decision.comparison.accuracy == pytest.approx(5 / 2200)
    assert failed(decision)[0] == "f1_macro_not_worse"
    assert decision.verdict == "REJECT"


def test_without_a_champion_the_floors_decide() -> None:
    challenger, _ = promoted()
    decision = decide(challenger, None, QUICK)
    assert decision.verdict == "PROMOTE"
    assert decision.comparison is None
    assert decision.rules[-1].rule == "no_champion"


@pytest.mark.parametrize(
    ("changes", "rule"),
    [
        ({"classes": ("class 1", "class 0")}, "same_classes"),
        ({"test_digest": "cd" * 32}, "same_test_images"),
        ({"labels": np.zeros(1000, dtype=np.int64)}, "same_test_images"),
        ({"trained_on_test": 7}, "champion_unseen"),
        ({"trained_on_test": None}, "champion_unseen"),
        ({"probabilities": np.full((1000, 2), np.nan)}, "champion_usable"),
    ],
)
def test_a_champion_that_cannot_be_compared_fairly_stays(
    changes: dict[str, object], rule: str
) -> None:
    """Even against a challenger that is better by far; the reason names the way out."""
    challenger, champion = promoted()
    decision = decide(challenger, replace(champion, **changes), QUICK)  # type: ignore[arg-type]
    assert decision.verdict == "HOLD"
    assert failed(decision) == [rule]
    assert decision.comparison is None
    assert "--force --reason" in " ".join(decision.reasons)


def test_a_champion_of_more_classes_stays() -> None:
    """Its columns are as many as its own classes, not the challenger's."""
    challenger, champion = promoted()
    wider = replace(
        champion, classes=("a", "b", "c"), probabilities=naming(champion.labels, classes=3)
    )
    assert failed(decide(challenger, wider, QUICK)) == ["same_classes"]


def test_a_champion_that_cannot_be_loaded_stays() -> None:
    challenger, _ = promoted()
    decision = decide(challenger, ChampionUnusable("its weights are missing"), QUICK)
    assert decision.verdict == "HOLD"
    assert "its weights are missing" in " ".join(decision.reasons)


@pytest.mark.parametrize("champion", [None, ChampionUnusable("gone")])
def test_a_challenger_below_a_floor_is_rejected_whatever_the_champion(
    champion: ChampionUnusable | None,
) -> None:
    challenger, _ = pair(both=400, challenger_only=100, champion_only=500, neither=0)
    decision = decide(challenger, champion, QUICK)
    assert decision.verdict == "REJECT"
    assert failed(decision) == ["accuracy_over_majority", "ece"]


FLOORS: list[tuple[dict[str, object], dict[str, object], str]] = [
    ({}, {"trained_on_test": 1}, "unseen_test_images"),
    ({}, {"trained_on_test": None}, "unseen_test_images"),
    ({"accuracy": 0.97}, {}, "accuracy"),
    ({"f1_macro": 0.97}, {}, "f1_macro"),
    ({"class_recall": 0.97}, {}, "class_recall"),
    ({"ece": 0.05}, {}, "ece"),
    ({"weights_megabytes": 0.3}, {}, "weights_megabytes"),
    ({"latency_ms": 5.0}, {"latency_ms": 5.1}, "latency_ms"),
    ({"latency_ms": 5.0}, {"latency_ms": None}, "latency_ms"),
]


@pytest.mark.parametrize(("params", "changes", "rule"), FLOORS)
def test_each_floor_rejects_by_itself(
    params: dict[str, object], changes: dict[str, object], rule: str
) -> None:
    """A challenger right in 96 % with a calibration error of 0.06 falls below this one only."""
    challenger, champion = promoted()
    challenger = replace(challenger, **changes)  # type: ignore[arg-type]
    decision = decide(challenger, champion, QUICK.model_copy(update=params))
    assert decision.verdict == "REJECT"
    assert failed(decision) == [rule]
    (reason,) = [reason for reason in decision.rules if not reason.passed]
    assert reason.text.endswith(".")


def test_the_latency_of_both_is_shown() -> None:
    """The challenger's alone is held to the limit."""
    challenger, champion = promoted()
    gate = QUICK.model_copy(update={"latency_ms": 5.0})
    decision = decide(replace(challenger, latency_ms=1.25), replace(champion, latency_ms=6.5), gate)
    [latency] = [result for result in decision.rules if result.rule == "latency_ms"]
    assert (latency.passed, latency.value, latency.threshold) == (True, 1.25, 5.0)
    assert "1.25 ms per image, the champion's 6.50 ms" in latency.text


def test_reasons_are_the_failed_rules_else_all() -> None:
    """What people are shown of a verdict; evidence keeps every rule under the key `reasons`."""
    promotion, hold = decide(*promoted(), QUICK), decide(*promoted()[:1] * 2, QUICK)
    assert promotion.reasons == tuple(result.text for result in promotion.rules)
    assert hold.reasons == tuple(result.text for result in hold.rules if not result.passed)
    assert 0 < len(hold.reasons) < len(hold.rules)
    kept = json.loads(hold.model_dump_json())["reasons"]
    assert [result["rule"] for result in kept] == [result.rule for result in hold.rules]


def test_floors_that_are_off_are_not_asked() -> None:
    off = dict.fromkeys(("accuracy", "f1_macro", "class_recall", "ece", "weights_megabytes"))
    challenger, _ = promoted()
    decision = decide(challenger, None, QUICK.model_copy(update=off))
    assert [reason.rule for reason in decision.rules] == [
        "minimum_test_images",
        "unseen_test_images",
        "accuracy_over_majority",
        "no_champion",
    ]


def test_accuracy_floor_rises_with_the_majority_class() -> None:
    """With 95 % in one class the floor is 0.955: 10 of the 50 others found show it, 9 do not.

    Always saying the first has none of these: a lead of 0.0054 at least, or of 0.0047 (Tango). By
    itself the accuracy of 0.96 is at least 0.946 only (Wilson).
    """
    labels = np.repeat([0, 1], [950, 50])
    for found, verdict in ((10, "PROMOTE"), (9, "REJECT")):
        predicted = np.where(np.arange(1000) >= 950 + found, 0, labels)
        challenger = version(naming(predicted, classes=2, confidence=0.95), labels)
        assert (
            decide(challenger, None, QUICK.model_copy(update={"f1_macro": None})).verdict == verdict
        )


def test_two_of_ten_right_are_not_above_any_floor() -> None:
    """Seen by luck alone: at least 0.057 (Wilson), where chance gives 0.1."""
    labels = np.arange(10)
    challenger = version(naming(np.where(labels < 2, labels, 0), classes=10), labels)
    decision = decide(challenger, None, QUICK)
    assert decision.verdict == "REJECT"
    assert "accuracy_over_majority" in failed(decision)
    assert "accuracy is 0.2000, at least 0.0567 (95 %)" in " ".join(decision.reasons)


def test_floors_ask_for_what_is_shown_not_for_what_is_seen() -> None:
    """90 of 100 right show 0.826, 900 of 1,000 show 0.880 (Wilson): the floor is 0.85."""
    gate = QUICK.model_copy(update={"accuracy": 0.85})
    for n, verdict in ((100, "REJECT"), (1000, "PROMOTE")):
        labels = np.arange(n) % 2
        named = np.where(np.arange(n) < 0.9 * n, labels, 1 - labels)
        decision = decide(version(naming(named, classes=2), labels), None, gate)
        assert decision.verdict == verdict
    assert failed(decision) == []


def test_too_few_test_images_hold_also_the_first_version() -> None:
    """49 of 49 right await a fiftieth image; below a floor it is REJECT all the same."""
    gate = QUICK.model_copy(update={"minimum_test_images": GateParams().minimum_test_images})
    for n, verdict in ((49, "HOLD"), (50, "PROMOTE")):
        labels = np.arange(n) % 2
        decision = decide(version(naming(labels, classes=2), labels), None, gate)
        assert decision.verdict == verdict
    labels = np.arange(49) % 2
    few, wrong = (version(naming(one, classes=2), labels) for one in (labels, 1 - labels))
    held = decide(few, None, gate)
    assert failed(held) == ["minimum_test_images"]
    (reason,) = held.reasons
    assert "49 images; the minimum is 50: add images with `pitchpipe data add`" in reason
    assert decide(wrong, None, gate).verdict == "REJECT"


def test_recall_of_a_class_with_few_images_is_left_to_chance() -> None:
    """29 images never found pass, 30 do not."""
    for images, verdict in ((29, "PROMOTE"), (30, "REJECT")):
        labels = np.repeat([0, 1, 2], [500, 500, images])
        challenger = version(naming(labels % 2, classes=3), labels)
        assert decide(challenger, None, QUICK).verdict == verdict


@pytest.mark.parametrize(
    "changes", [{"probabilities": np.full((1000, 2), np.nan)}, {"classes": "a"}]
)
def test_a_challenger_that_cannot_be_scored_is_rejected(changes: dict[str, object]) -> None:
    """Not a number, or columns that are not its classes."""
    challenger, champion = promoted()
    broken = replace(challenger, **changes)  # type: ignore[arg-type]
    decision = decide(broken, champion, QUICK)
    assert decision.verdict == "REJECT"
    assert failed(decision) == ["scorable"]


@settings(deadline=None, max_examples=60)
@given(counts, counts, counts, counts, st.integers(2, 5))
def test_never_both_ways(both: int, ahead: int, behind: int, neither: int, classes: int) -> None:
    """If A is promoted over B, B is rejected against A."""
    if both + ahead + behind + neither == 0:
        both = 1
    first, second = pair(
        both=both, challenger_only=ahead, champion_only=behind, neither=neither, classes=classes
    )
    one, other = decide(first, second, QUICK), decide(second, first, QUICK)
    if one.verdict == "PROMOTE":
        assert other.verdict == "REJECT"


@settings(deadline=None, max_examples=60)
@given(st.integers(1, 300), st.integers(2, 6), st.integers(0, 2**32 - 1))
def test_identical_versions_never_replace_each_other(n: int, classes: int, seed: int) -> None:
    """HOLD where the floors are met, REJECT below them; never PROMOTE."""
    one = version(*guesses(n, classes, strength=3.0, seed=seed))
    decision = decide(one, one, QUICK)
    above = all(reason.passed for reason in decide(one, None, QUICK).rules)
    assert decision.verdict == ("HOLD" if above else "REJECT")


@settings(deadline=None, max_examples=40)
@given(st.integers(2, 120), st.integers(0, 2**32 - 1), st.randoms(use_true_random=False))
def test_order_of_images_changes_nothing(n: int, seed: int, random: Random) -> None:
    """Not a bit of any number or word."""
    challenger = version(*guesses(n, 3, strength=3.0, seed=seed))
    champion = replace(challenger, probabilities=guesses(n, 3, strength=2.0, seed=seed + 1)[0])
    order = list(range(n))
    random.shuffle(order)

    def shuffled(one: GateInput) -> GateInput:
        return replace(one, probabilities=one.probabilities[order], labels=one.labels[order])

    decision = decide(challenger, champion, QUICK)
    assert decide(shuffled(challenger), shuffled(champion), QUICK) == decision


@settings(deadline=None, max_examples=40)
@given(counts, counts, st.integers(100, 300))
def test_a_further_win_never_undoes_a_promotion(ahead: int, behind: int, both: int) -> None:
    """An image more that only the challenger has right keeps PROMOTE."""
    now = pair(both=both, challenger_only=ahead, champion_only=behind, neither=5)
    then = pair(both=both, challenger_only=ahead + 1, champion_only=behind, neither=5)
    if decide(*now, QUICK).verdict == "PROMOTE":
        assert decide(*then, QUICK).verdict == "PROMOTE"


def test_decision_survives_its_json() -> None:
    decision = decide(*promoted(), QUICK)
    assert GateDecision.model_validate_json(decision.model_dump_json()) == decision


def test_floors_say_what_they_measured() -> None:
    challenger, _ = promoted()
    decision = decide(challenger, None, GateParams())
    rules = {reason.rule: reason for reason in decision.rules}
    assert rules["accuracy_over_majority"].value == pytest.approx(0.9460, abs=1e-4)  # Wilson
    assert "accuracy is 0.9600, at least 0.9460 (95 %)" in rules["accuracy_over_majority"].text
    assert rules["accuracy_over_majority"].threshold == pytest.approx(0.55)
    assert rules["weights_megabytes"].value == pytest.approx(0.4)


def test_ten_thousand_images_are_decided_quickly() -> None:
    """0.2 s on a quiet core; the limit leaves room for coverage and for busy machines."""
    challenger = version(*guesses(10_000, 10, strength=4.0, seed=0))
    noise = np.random.default_rng(1).normal(size=(10_000, 10)) / 2
    logits = np.log(challenger.probabilities) + noise
    shifted = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    champion = replace(challenger, probabilities=shifted)
    began = time.process_time()
    decide(challenger, champion, GateParams())
    assert time.process_time() - began < 5
