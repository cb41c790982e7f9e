"""The guard of each class: what is shown to be kept, what is not, and what could have passed."""

import math
from dataclasses import replace

import numpy as np
import pytest
from evaluation_fixtures import names
from gate_fixtures import QUICK, one_class_loses, pair
from hypothesis import given, settings
from hypothesis import strategies as st

from models.gate.class_guard import check_classes_kept, images_to_guard
from models.gate.comparison import Pair
from models.gate.records import GateDecision, RuleResult
from models.gate.verdict import decide

FEW = st.integers(0, 12)


def rule_of(decision: GateDecision, name: str) -> RuleResult:
    (found,) = [one for one in decision.rules if one.rule == name]
    return found


def counted(images: int, gained: list[int], lost: list[int]) -> Pair:
    """So many images of each class, of which so many only one of the two has right."""
    classes = len(gained)
    labels = np.repeat(np.arange(classes), images)
    within = np.tile(np.arange(images), classes)
    wins, losses = np.repeat(gained, images), np.repeat(lost, images)
    other = (labels + 1) % classes
    return Pair(
        labels=labels,
        challenger=np.where((within >= wins) & (within < wins + losses), other, labels),
        champion=np.where(within < wins, other, labels),
        excess_loss=np.zeros(len(labels)),
        names=tuple(names(classes)),
    )


def test_a_class_that_loses_much_on_few_images_holds() -> None:
    """10 of 36 lost, 27.8 points, was called "not significantly worse" and promoted."""
    decision = decide(*one_class_loses(36, 10), QUICK)

    assert decision.verdict == "HOLD"
    (reason,) = decision.reasons
    assert reason.startswith("Recall is not shown to be at most 5 points worse in class class 9.")
    assert "Too few images to guard 10 of 10 classes (class class 0 has 36; " in reason
    assert "points in class class 9 (-27.8 on 36 images) could have passed." in reason


def test_a_few_images_lost_by_a_small_class_do_not_hold() -> None:
    """Two of 36 are 5.6 points, which luck brings to one class of ten often; it is said."""
    decision = decide(*one_class_loses(36, 2), QUICK)

    assert decision.verdict == "PROMOTE"
    kept = rule_of(decision, "class_recall_kept")
    assert "Too few images to guard 10 of 10 classes" in kept.text
    assert "A loss of 18.1 points in class class 9 (-5.6 on 36 images)" in kept.text


def test_images_lost_by_tiny_classes_say_nothing() -> None:
    """Of two images one or both lost: half the recall is gone, or all, by luck alone."""
    for lost in (1, 2):
        assert check_classes_kept(counted(2, [1, 0], [0, lost]), QUICK).passed


def test_a_class_with_images_enough_must_be_shown_to_be_kept() -> None:
    """Of 1,000, 40 lost and none gained: 4 points, 5.4 are not excluded; 30 lost: 4.2 are."""
    for lost, passed in ((40, False), (30, True)):
        found = check_classes_kept(counted(1000, [20, 0], [0, lost]), QUICK)
        assert found.passed is passed
        assert found.threshold == -0.05
    assert found.value == pytest.approx(-0.0425, abs=1e-4)
    assert found.text == (
        "Recall is shown to be at most 5 points worse in 2 of 2 classes. A loss of 4.3 points in "
        "class class 1 (-3.0 on 1,000 images) could have passed."
    )


def test_a_loss_in_any_class_may_be_excluded() -> None:
    found = check_classes_kept(counted(1000, [50, 40], [0, 0]), QUICK)

    assert found.text.endswith("in 2 of 2 classes. A loss in any class is excluded.")


def test_images_to_guard_worked_by_hand() -> None:
    """One class: ((1.960 + 0.842) / 0.05)^2 * 2 * 0.03 = 188.4; identical: 3.84 * 19 = 73."""
    needed = images_to_guard(classes=1, gained=0.03, margin=0.05, significance=0.05)
    assert needed == 189
    assert images_to_guard(classes=1, gained=0.0, margin=0.05, significance=0.05) == 73
    assert images_to_guard(classes=1, gained=0.03, margin=0.0, significance=0.05) == math.inf


@pytest.mark.parametrize(("images", "margin"), [(1000, 0.05), (150, 0.1), (36, 0.05), (8, 0.05)])
def test_most_equal_challengers_are_not_held_back(images: int, margin: float) -> None:
    """80 % pass for all ten classes, of few images and of many, but for three deviations."""
    source, gate = np.random.default_rng(images), QUICK.model_copy()
    gate = gate.model_copy(update={"class_recall_margin": margin})
    pairs = 80
    passed = sum(
        check_classes_kept(counted(images, *differing(source, images, 0.03, 0.03)), gate).passed
        for _ in range(pairs)
    )
    assert passed / pairs >= 0.8 - 3 * math.sqrt(0.8 * 0.2 / pairs)


def test_a_challenger_that_is_worse_by_the_margin_seldom_passes() -> None:
    """All ten classes of 1,000 at the margin of 5 points: any of them holds it back."""
    source = np.random.default_rng(0)
    passed = sum(
        check_classes_kept(counted(1000, *differing(source, 1000, 0.02, 0.07)), QUICK).passed
        for _ in range(40)
    )
    assert passed == 0


def differing(
    source: np.random.Generator, images: int, better: float, worse: float
) -> tuple[list[int], list[int]]:
    """Images of ten classes that only the challenger, and only the champion, has right."""
    shares = [better, worse, 1 - better - worse]
    drawn = source.multinomial(images, shares, size=10)
    return drawn[:, 0].tolist(), drawn[:, 1].tolist()


@settings(deadline=None, max_examples=40)
@given(st.lists(st.tuples(FEW, FEW), min_size=2, max_size=4), st.integers(24, 400), st.data())
def test_a_further_loss_never_earns_a_pass(
    counts: list[tuple[int, int]], images: int, data: st.DataObject
) -> None:
    """In whichever class, on however many images."""
    gained, lost = (list(side) for side in zip(*counts, strict=True))
    before = check_classes_kept(counted(images, gained, lost), QUICK)
    worse = data.draw(st.integers(0, len(lost) - 1))
    lost[worse] = min(lost[worse] + 1, images - gained[worse])
    after = check_classes_kept(counted(images, gained, lost), QUICK)
    assert before.passed or not after.passed


def test_every_guard_says_which_loss_could_have_passed() -> None:
    """Accuracy, macro F1, cross-entropy and the classes; where none could, that."""
    decision = decide(*pair(both=900, challenger_only=40, champion_only=40, neither=20), QUICK)
    for rule in ("accuracy_not_worse", "f1_macro_not_worse", "cross_entropy_not_worse"):
        assert "could have passed." in rule_of(decision, rule).text
    better = decide(*pair(both=900, challenger_only=60, champion_only=20, neither=20), QUICK)
    assert rule_of(better, "accuracy_not_worse").text.endswith("; a loss is excluded.")


def test_a_loss_of_macro_f1_or_cross_entropy_that_is_observed_holds() -> None:
    """Better in accuracy, surer where wrong: +0.03 nats on few images are not significant."""
    challenger, champion = pair(both=180, challenger_only=14, champion_only=2, neither=4)
    wrong = challenger.probabilities.argmax(axis=1) != challenger.labels
    surer = np.where(wrong[:, None], challenger.probabilities**8, challenger.probabilities)
    surer = surer / surer.sum(axis=1, keepdims=True)

    decision = decide(replace(challenger, probabilities=surer), champion, QUICK)

    assert decision.verdict == "HOLD"
    assert [one.rule for one in decision.rules if not one.passed] == ["cross_entropy_within_margin"]


def test_a_thousand_classes_are_guarded_quickly() -> None:
    """Ten images each: too few for any, and nothing is held back."""
    labels = np.arange(10_000) % 1000
    named = np.where(np.arange(10_000) < 7000, labels, 0)
    worse = np.where(np.arange(10_000) < 6500, labels, 0)
    both = Pair(labels, named, worse, np.zeros(10_000), tuple(names(1000)))

    assert "Too few images to guard 1000 of 1000 classes" in check_classes_kept(both, QUICK).text
