"""The optimism of a selection: worked by hand, and where the truth is known."""

import math

import numpy as np
import pytest

from models.config.trial import Objective
from models.evaluation.outcomes import Outcomes, outcomes_of
from models.evaluation.uncertainty.optimism import estimate_optimism


def trial(of_truth: list[float], labels: list[int]) -> Outcomes:
    """Predictions of two classes, by the probability of the true one."""
    table = [
        [p, 1 - p] if label == 0 else [1 - p, p] for p, label in zip(of_truth, labels, strict=True)
    ]
    return outcomes_of(np.array(table), np.array(labels))


@pytest.mark.parametrize(
    ("by", "validation", "excess"),
    [
        ("accuracy", 0.5, 0.5),
        ("f1_macro", 1 / 3, 1 / 3),  # 2/3 of the class that is always named, 0 of the other
        ("cross_entropy", -math.log(0.3), math.log(3)),  # -ln 0.9 and -ln 0.1; unseen -ln 0.1
    ],
)
def test_two_images_worked_by_hand(by: Objective, validation: float, excess: float) -> None:
    """Each is right on one image; if that alone is drawn it is selected, and wrong on the other."""
    labels = [0, 1]
    trials = [trial([0.9, 0.1], labels), trial([0.1, 0.9], labels)]

    found = estimate_optimism(trials, by)

    assert found is not None
    assert found.validation == pytest.approx(validation)
    assert found.excess == pytest.approx(excess)


def test_the_luckiest_of_many_that_guess_is_no_better_than_they() -> None:
    """Of forty that guess, the best of 200 images seems to have six points or more."""
    generator = np.random.default_rng(0)
    labels = generator.integers(0, 2, 200).tolist()
    trials = [trial(generator.uniform(0, 1, 200).tolist(), labels) for _ in range(40)]

    found = estimate_optimism(trials, "accuracy")

    assert found is not None
    assert found.validation > 0.56
    assert found.validation - found.excess == pytest.approx(0.5, abs=0.04)
    assert estimate_optimism(trials, "accuracy") == found


def test_where_one_is_far_better_choosing_flatters_nobody() -> None:
    """It would have been selected on any images."""
    labels = [0, 1] * 50
    good = trial([0.9] * 90 + [0.1] * 10, labels)
    trials = [good, *(trial([0.4] * 100, labels) for _ in range(9))]

    found = estimate_optimism(trials, "f1_macro")

    assert found is not None
    assert found.excess == pytest.approx(0, abs=0.01)


def test_without_a_choice_there_is_no_estimate() -> None:
    """One trial, or none, or a single image."""
    assert estimate_optimism([], "accuracy") is None
    assert estimate_optimism([trial([0.9, 0.9], [0, 1])], "accuracy") is None
    assert estimate_optimism([trial([0.9], [0])] * 2, "accuracy") is None


def test_the_sentence_names_points_and_the_score_without_them() -> None:
    """What terminal and report say."""
    found = estimate_optimism([trial([0.9, 0.1], [0, 1]), trial([0.1, 0.9], [0, 1])], "accuracy")

    assert found is not None
    assert found.sentence == (
        "optimism: +50.0 points, by the choice among 2 trials on 2 validation images; "
        "without it accuracy is about 0.0000"
    )
