"""Sentences about calibration and selection follow from the numbers."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest
from evaluation_fixtures import naming
from hypothesis import given
from hypothesis import strategies as st

from models.evaluation.calibration import diagnose_calibration
from models.evaluation.outcomes import outcomes_of
from models.evaluation.records import Distinction, Optimism, PointScores
from models.evaluation.report.narrative import describe_mistakes, explain_selection, most_confused
from models.evaluation.report.plot_style import short
from models.evaluation.report.report_input import LeaderboardRow, Selection
from models.evaluation.scores import evaluate
from models.trials import Scores


@pytest.mark.parametrize(
    ("confidence", "right", "kind"),
    [(0.9, 0.9, "calibrated"), (0.9, 0.7, "overconfident"), (0.7, 0.9, "underconfident")],
)
def test_calibration_is_named_by_its_side(confidence: float, right: float, kind: str) -> None:
    n = 2000
    labels = np.where(np.arange(n) < right * n, 0, 1)
    outcomes = outcomes_of(naming(np.zeros(n, int), classes=2, confidence=confidence), labels)
    assert diagnose_calibration(outcomes, 15).kind == kind


def test_calibration_error_to_both_sides_is_uneven() -> None:
    """0.99 that is right in 0.85 and 0.6 that is right in 0.74: the mean hides it."""
    labels = np.concatenate([np.arange(1000) >= 850, np.arange(1000) >= 740]).astype(int)
    sure = np.repeat([0.99, 0.6], 1000)
    outcomes = outcomes_of(naming(np.zeros(2000, int), classes=2, confidence=sure), labels)
    assert diagnose_calibration(outcomes, 15).kind == "uneven"


def test_few_images_excuse_a_calibration_error() -> None:
    """Four of five right at 0.9 is an error of 0.1 that chance gives easily."""
    outcomes = outcomes_of(naming([0] * 5, classes=2), np.array([0, 0, 0, 0, 1]))
    found = diagnose_calibration(outcomes, 15)
    assert found.kind == "calibrated"
    assert found.by_chance > 0.1


def board(*accuracies: float, losses: Sequence[float] = (1.0, 1.0, 1.0)) -> Selection:
    rows = [
        LeaderboardRow(
            {},
            Scores(accuracy=one, f1_macro=one, cross_entropy=loss),
            1,
            1.0,
            "trained",
            cached=False,
        )
        for one, loss in zip(accuracies, losses, strict=False)
    ]
    return Selection(rows, [], 1, "accuracy")


@pytest.mark.parametrize(
    ("tested", "alike", "said"),
    [
        (7, 3, "3 of 7 other trials are not distinguishable from the best on 303 validation"),
        (7, 1, "1 of 7 other trials is not distinguishable from the best"),
        (7, 0, "7 other trials can be told apart from the best"),
        (1, 1, "The other trial is not distinguishable from the best"),
    ],
)
def test_selection_says_from_whom_the_best_is_told_apart(
    tested: int, alike: int, said: str
) -> None:
    """By which test, and of how many it is not known."""
    distinction = Distinction(
        objective="accuracy", images=303, others=tested + 2, tested=tested, alike=alike
    )
    found = explain_selection(replace(board(0.9, 0.8), distinction=distinction))
    assert said in found
    assert (
        "exact McNemar tests of accuracy with Holm's correction, 5 %); 2 were not tested" in found
    )
    assert "not tested" not in distinction.model_copy(update={"others": tested}).sentence
    assert "distinguishable" not in explain_selection(board(0.9, 0.8))


def test_selection_says_what_broke_a_tie() -> None:
    """The lower cross-entropy; where that is level too, as by cross-entropy, the earlier trial."""
    by_loss = board(0.9, 0.9, losses=(0.2, 0.3))
    level = board(0.9, 0.9)
    for tied, breaker in (
        (by_loss, "the lower cross-entropy"),
        (level, "the earlier trial"),
        (replace(level, objective="cross_entropy"), "the earlier trial"),
    ):
        assert f"The tie went to {breaker}." in explain_selection(tied)
    assert "tie" not in explain_selection(board(0.9, 0.8))


def test_selection_says_how_much_the_choice_flatters() -> None:
    """In points of the score that decided, or in nats; a lower cross-entropy is better."""
    chosen = Optimism(objective="accuracy", validation=0.9, excess=0.012, trials=2, images=1000)
    flattered = replace(board(0.9, 0.8), optimism=chosen)
    found = explain_selection(flattered)
    assert "optimism: +1.2 points, by the choice among 2 trials on 1,000" in found
    assert "without it accuracy is about 0.8880" in found

    by_loss = chosen.model_copy(update={"objective": "cross_entropy", "validation": 0.3})
    assert "+0.0120 nats" in by_loss.sentence
    assert "cross-entropy is about 0.3120" in by_loss.sentence


def three_classes() -> PointScores:
    predicted, labels = [0, 1, 1, 0, 0, 2], np.array([0, 1, 0, 1, 1, 2])
    return evaluate(naming(predicted, classes=3), labels, classes=["a", "b", "c"], bins=5)


def test_confusions_come_most_frequent_first() -> None:
    """b was called a twice of three, a called b once of two."""
    found = [(pair.true, pair.predicted, pair.images) for pair in most_confused(three_classes(), 9)]
    assert found == [("b", "a", 2), ("a", "b", 1)]
    assert "Most often b is predicted as a (2 times, 66.7 % of its images)" in describe_mistakes(
        three_classes()
    )


def test_scattered_mistakes_are_said_to_be_scattered() -> None:
    found = evaluate(naming([1, 1, 0, 2], classes=3), [0, 1, 2, 2], classes=["a", "b", "c"], bins=5)
    assert describe_mistakes(found).startswith(
        "2 of 4 test images are wrong. No class is predicted as another more than once;"
    )


@given(st.text(max_size=60), st.integers(3, 30))
def test_short_names_fit_and_keep_both_ends(name: str, most: int) -> None:
    cut = short(name, most)
    assert len(cut) <= most
    assert cut == name or (cut[0] == name[0] and cut[-1] == name[-1])
