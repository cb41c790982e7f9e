"""The score that a challenger must be better in: its test, its level, its verdicts."""

import itertools
from dataclasses import replace
from typing import Literal

import numpy as np
import numpy.typing as npt
import pytest
from evaluation_fixtures import naming
from gate_fixtures import QUICK, pair, version
from hypothesis import given, settings
from hypothesis import strategies as st

from models.config import GateParams
from models.evaluation.scores import f1_macro
from models.gate.inputs import GateInput
from models.gate.permutation import cross_entropy_p, f1_macro_p
from models.gate.verdict import decide

Metric = Literal["accuracy", "f1_macro", "cross_entropy"]


def by(metric: Metric, **changes: object) -> GateParams:
    return QUICK.model_copy(update={"metric": metric, **changes})


def source(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def test_exchanged_losses_worked_by_hand() -> None:
    """1, 2 and 4 nats lower: of eight ways to exchange them only one is as low; ties count."""
    lower = np.array([-1.0, -2.0, -4.0])
    assert cross_entropy_p(lower, source(), level=0.001) == pytest.approx(1 / 8, abs=0.035)
    assert cross_entropy_p(-lower, source(), level=0.001) == pytest.approx(1, abs=0.001)
    assert cross_entropy_p(np.array([0.3, -0.3]), source(), level=0.001) > 0.7
    assert cross_entropy_p(np.zeros(5), source(), level=0.001) == 1


@settings(deadline=None, max_examples=15)
@given(st.integers(0, 2**32 - 1))
def test_exchanged_predictions_are_those_of_every_exchange(seed: int) -> None:
    """On twelve images all exchanges are tried, with macro F1 computed anew for each."""
    generator = source(seed)
    labels, one, other = (generator.integers(0, 3, 12) for _ in range(3))
    other = np.where(np.arange(12) < 5, one, other)
    apart = np.flatnonzero(one != other)
    seen = f1_macro(labels, one) - f1_macro(labels, other) - 1e-9
    beyond = []
    for swaps in itertools.product([False, True], repeat=len(apart)):
        swapped = apart[np.array(swaps, dtype=bool)] if len(apart) else apart
        first, second = one.copy(), other.copy()
        first[swapped], second[swapped] = other[swapped], one[swapped]
        beyond.append(f1_macro(labels, first) - f1_macro(labels, second) >= seen)

    found = f1_macro_p(labels, (one, other), source(seed), level=0.001)

    assert found == pytest.approx(np.mean(beyond), abs=0.07)


@pytest.mark.parametrize("level", [0.05, 0.005])
def test_alike_versions_are_called_better_no_oftener_than_the_level(level: float) -> None:
    """400 pairs: by losses with heavy tails, by predictions of skewed classes."""
    generator, better = source(), np.zeros(2)
    for _ in range(400):
        losses = generator.standard_t(2, 60)
        labels = generator.choice(3, 80, p=[0.7, 0.2, 0.1])
        one, other = (np.where(generator.random(80) < 0.8, labels, 0) for _ in range(2))
        better += [
            cross_entropy_p(losses, generator, level=level) <= level,
            f1_macro_p(labels, (one, other), generator, level=level) <= level,
        ]
    assert (better / 400 <= level + 3 * np.sqrt(level * (1 - level) / 400)).all()


def rare_class_found() -> tuple[GateInput, GateInput]:
    """As accurate as the champion, and right on 40 of 100 rare images more."""
    labels = np.repeat([0, 1], [2000, 100])
    within = np.concatenate([np.arange(2000), np.arange(100)])
    named = [
        np.where(within < np.where(labels == 0, common, rare), labels, 1 - labels)
        for common, rare in ((1942, 80), (1980, 40))
    ]
    challenger, champion = (version(naming(one, classes=2), labels) for one in named)
    return challenger, champion


def test_better_in_macro_f1_is_promoted_where_that_is_the_metric() -> None:
    """By accuracy it holds: two images more of 2,100."""
    gate = by("f1_macro", accuracy_over_majority=0.0, f1_macro=None)
    challenger, champion = rare_class_found()

    decision = decide(challenger, champion, gate)

    assert decision.verdict == "PROMOTE"
    assert decision.comparison is not None
    assert decision.comparison.metric == "f1_macro"
    (shown,) = [one for one in decision.rules if one.rule == "f1_macro_shown_better"]
    assert "Macro F1 is significantly better (predictions exchanged image by image" in shown.text
    by_accuracy = gate.model_copy(update={"metric": "accuracy"})
    assert decide(challenger, champion, by_accuracy).verdict == "HOLD"
    assert decide(champion, challenger, gate).verdict != "PROMOTE"


def surer(confidence: float) -> tuple[GateInput, GateInput]:
    """Right on the same 950 of 1,000 images, with another confidence than 0.8."""
    challenger, champion = pair(both=950, challenger_only=0, champion_only=0, neither=50)
    named = challenger.labels
    wrong = np.arange(1000) >= 950
    named = np.where(wrong, 1 - named, named)
    first, second = (naming(named, classes=2, confidence=one) for one in (confidence, 0.8))
    return replace(challenger, probabilities=first), replace(champion, probabilities=second)


def test_better_in_cross_entropy_is_promoted_where_that_is_the_metric() -> None:
    """0.95 where 95 % are right costs 0.199 nats, 0.8 costs 0.292; by accuracy it is a tie."""
    decision = decide(*surer(0.95), by("cross_entropy"))

    assert decision.verdict == "PROMOTE"
    assert decision.comparison is not None
    assert decision.comparison.cross_entropy == pytest.approx(0.199 - 0.292, abs=0.001)
    (shown,) = [one for one in decision.rules if one.rule == "cross_entropy_shown_better"]
    assert " nats is detected with a power of 80 %" in shown.text
    assert decide(*surer(0.95), QUICK).verdict == "HOLD"


def test_a_lead_of_the_metric_must_be_large_enough_to_matter() -> None:
    """0.81 against 0.8 is lower by 0.009 nats on every image but 50, and surely no chance."""
    held = decide(*surer(0.81), by("cross_entropy", minimum_effect=0.02))
    assert held.verdict == "HOLD"
    assert [one.rule for one in held.rules if not one.passed] == ["minimum_effect"]
    assert "Cross-entropy differs by -0.0092 nats; the maximum is -0.02." in held.reasons


@pytest.mark.parametrize("metric", ["f1_macro", "cross_entropy"])
def test_the_same_pair_in_any_order_has_the_same_decision(metric: Metric) -> None:
    """Seeded by what is compared; and no pair is promoted over itself."""
    challenger, champion = pair(both=300, challenger_only=40, champion_only=20, neither=10)
    order = source().permutation(370)
    first, second = (
        replace(one, probabilities=one.probabilities[order], labels=one.labels[order])
        for one in (challenger, champion)
    )
    assert decide(first, second, by(metric)) == decide(challenger, champion, by(metric))
    assert decide(challenger, challenger, by(metric)).verdict == "HOLD"


@pytest.mark.parametrize("metric", ["f1_macro", "cross_entropy"])
def test_the_level_is_that_of_the_look(metric: Metric) -> None:
    """What is enough at the first look is not at the hundredth, nor when no look is left."""
    versions = pair(both=300, challenger_only=34, champion_only=14, neither=10)
    found = [
        decide(*versions, by(metric), looks=looks).verdict for looks in (0, 99, GateParams().looks)
    ]
    assert found == ["PROMOTE", "HOLD", "HOLD"]


def test_a_late_look_is_drawn_to_the_end_where_the_lead_is_clear() -> None:
    """A level of 7e-5 takes 290,000 exchanges; z = -5 has hardly any beyond it."""
    losses: npt.NDArray[np.float64] = source().normal(-0.3, 1, 300)
    assert cross_entropy_p(losses, source(), level=7e-5) == pytest.approx(1 / 285_715, rel=5)
