"""Scores: hand-worked values, properties, and what bad input is told."""

import json
import math
import time
from random import Random

import numpy as np
import pytest
import torch
from evaluation_fixtures import Labels, Probabilities, guesses, naming, scored
from evaluation_fixtures import names as class_names
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError
from sklearn.metrics import f1_score

from models.evaluation import inference
from models.evaluation.confusion import ConfusionMatrix
from models.evaluation.inference import measure_latency_ms
from models.evaluation.records import Evaluation
from models.evaluation.scores import evaluate, f1_macro


def scores_of(probabilities: Probabilities, labels: Labels, *, bins: int = 10) -> Evaluation:
    names = class_names(probabilities.shape[1])
    return evaluate(probabilities, labels, classes=names, bins=bins)


def test_scores_equal_the_values_worked_by_hand() -> None:
    """Six images of three classes: two cats, three dogs, one hen never found."""
    labels = np.array([0, 0, 1, 1, 1, 2])
    probabilities = np.array(
        [
            [0.8, 0.1, 0.1],  # right
            [0.2, 0.7, 0.1],  # cat called dog
            [0.1, 0.8, 0.1],  # right
            [0.1, 0.8, 0.1],  # right
            [0.6, 0.3, 0.1],  # dog called cat
            [0.1, 0.7, 0.2],  # hen called dog
        ]
    )
    found = evaluate(probabilities, labels, classes=["cat", "dog", "hen"], bins=4)
    assert found.confusion.rows == ((1, 1, 0), (1, 2, 0), (0, 1, 0))
    assert found.confusion.wrong == 3
    assert found.accuracy == pytest.approx(3 / 6)
    # cat: precision 1/2, recall 1/2; dog: 2/4 and 2/3, so F1 4/7; hen: nothing called so.
    assert [scores.f1 for scores in found.per_class] == pytest.approx([1 / 2, 4 / 7, 0])
    assert found.f1_macro == pytest.approx((1 / 2 + 4 / 7) / 3)
    assert found.f1_weighted == pytest.approx((2 / 2 + 3 * 4 / 7) / 6)
    lost = -sum(math.log(of_truth) for of_truth in (0.8, 0.2, 0.8, 0.8, 0.3, 0.2))
    assert found.cross_entropy == pytest.approx(lost / 6)
    # Above 0.75: 0.8 three times, all right; above 0.5: 0.7, 0.7 and 0.6, none right.
    assert found.ece == pytest.approx(3 / 6 * (1 - 0.8) + 3 / 6 * (0.7 + 0.7 + 0.6) / 3)
    assert found.majority_share == pytest.approx(3 / 6)


def test_wilson_interval_equals_the_published_example() -> None:
    """81 of 263 gives 0.2553 to 0.3662 (Newcombe, 1998, table I, method 3)."""
    labels = np.zeros(263, dtype=np.int64)
    predicted = np.where(np.arange(263) < 81, 0, 1)
    found = scores_of(naming(predicted, classes=2), labels)
    assert found.intervals["accuracy"].low == pytest.approx(0.2553, abs=5e-5)
    assert found.intervals["accuracy"].high == pytest.approx(0.3662, abs=5e-5)


def test_bootstrap_interval_of_cross_entropy_is_that_of_a_mean() -> None:
    """With thousands of images the percentiles meet the normal interval of the mean."""
    probabilities, labels = guesses(5000, 4, strength=2.0, seed=1)
    losses = -np.log(probabilities[np.arange(5000), labels].astype(np.float64))
    reach = 1.96 * losses.std() / math.sqrt(5000)
    found = scores_of(probabilities, labels).intervals["cross_entropy"]
    assert found.low == pytest.approx(losses.mean() - reach, abs=reach / 8)
    assert found.high == pytest.approx(losses.mean() + reach, abs=reach / 8)


@settings(deadline=None, max_examples=40)
@given(scored(), st.randoms(use_true_random=False))
def test_order_of_images_changes_nothing(
    images: tuple[Probabilities, Labels], random: Random
) -> None:
    """Not a bit of any score or interval."""
    probabilities, labels = images
    order = list(range(len(labels)))
    random.shuffle(order)
    assert scores_of(probabilities, labels) == scores_of(probabilities[order], labels[order])


@settings(deadline=None, max_examples=40)
@given(scored())
def test_scores_stay_within_their_bounds(images: tuple[Probabilities, Labels]) -> None:
    probabilities, labels = images
    found = scores_of(probabilities, labels)
    for share in (found.accuracy, found.f1_macro, found.f1_weighted, found.ece):
        assert 0 <= share <= 1 + 1e-12
    assert found.cross_entropy >= 0
    assert sum(map(sum, found.confusion.rows)) == found.n == len(labels)
    accuracy = found.intervals["accuracy"]
    assert accuracy.low <= found.accuracy <= accuracy.high
    assert all(interval.low <= interval.high for interval in found.intervals.values())


@settings(deadline=None, max_examples=40)
@given(scored(), st.permutations(range(6)))
def test_renaming_classes_renames_the_scores(
    images: tuple[Probabilities, Labels], order: list[int]
) -> None:
    """Permuted columns and labels permute the classes and leave the totals."""
    probabilities, labels = images
    k = probabilities.shape[1]
    new_place = [place for place in order if place < k]
    columns = np.argsort(new_place)
    found = scores_of(probabilities, labels)
    moved = scores_of(probabilities[:, columns], np.array(new_place)[labels])
    assert moved.accuracy == found.accuracy
    assert moved.f1_macro == pytest.approx(found.f1_macro)
    assert moved.cross_entropy == pytest.approx(found.cross_entropy)
    assert sorted(scores.f1 for scores in moved.per_class) == pytest.approx(
        sorted(scores.f1 for scores in found.per_class)
    )


@settings(deadline=None, max_examples=20)
@given(scored())
def test_evaluation_survives_its_json(images: tuple[Probabilities, Labels]) -> None:
    found = scores_of(*images)
    assert Evaluation.model_validate_json(found.model_dump_json()) == found


def test_classes_without_images_are_left_out_of_macro_f1_and_named() -> None:
    """One image of a hundred classes: macro F1 is its own, the confusion has every class."""
    found = scores_of(naming([3], classes=100), np.array([3]))
    assert found.accuracy == found.f1_macro == 1
    assert len(found.per_class) == found.confusion.classes == 100
    assert len(found.absent) == 99
    assert found.f1_scope == (
        "no images of class 0, class 1, class 2, class 4, class 5 and 94 more"
    )
    assert scores_of(naming([0, 1], classes=2), np.array([1, 1])).f1_scope == "no images of class 0"
    assert scores_of(naming([0, 1], classes=2), np.array([0, 1])).f1_scope == ""


def test_a_small_confusion_matrix_is_written_whole_and_a_large_one_by_its_cells() -> None:
    """A table of a hundred classes; of 2,000, what grows with the images."""
    images = np.array([3, 3, 7]), naming([3, 5, 7], classes=100), naming([3, 5, 7], classes=2000)
    small, large = (scores_of(table, images[0]) for table in images[1:])
    table = json.loads(small.model_dump_json())["confusion"]
    cells = json.loads(large.model_dump_json())["confusion"]
    assert [len(row) for row in table] == [100] * 100
    assert (table[3][3], table[3][5], table[7][7], sum(map(sum, table))) == (1, 1, 1, 3)
    assert cells == {"classes": 2000, "cells": [[3, 3, 1], [3, 5, 1], [7, 7, 1]]}
    for found in (small, large):
        assert Evaluation.model_validate_json(found.model_dump_json()) == found


@pytest.mark.parametrize(
    "confusion",
    [
        [[1, 0], [1]],
        [[1, 0], "xy"],
        [[1, 0], [0, -1]],
        [],
        {"classes": 2, "cells": [[0, 2, 1]]},
        {"classes": 2, "cells": [[0, -1, 1]]},
        {"classes": 2, "cells": [[0, 1, 0]]},
        {"classes": 2, "cells": [[0, 1]]},
        {"classes": 2},
        "text",
        None,
    ],
)
def test_a_confusion_matrix_that_is_none_is_refused(confusion: object) -> None:
    """Of an imported version, say."""
    with pytest.raises(ValidationError):
        ConfusionMatrix.model_validate_json(json.dumps(confusion))


def test_an_image_taken_for_a_class_without_images_is_missed_by_its_own() -> None:
    """Two of four: recall 1/2, precision 1, so F1 2/3; the absent class has none."""
    found = scores_of(naming([0, 0, 1, 1], classes=2), np.zeros(4, dtype=np.int64))
    assert found.f1_macro == pytest.approx(2 / 3)


@settings(deadline=None, max_examples=40)
@given(scored())
def test_macro_f1_is_scikit_learns_over_the_classes_with_images(
    images: tuple[Probabilities, Labels],
) -> None:
    """By itself, as the gate takes it, and among the scores."""
    probabilities, labels = images
    predicted = probabilities.argmax(axis=1)
    seen = np.unique(labels)
    expected = f1_score(labels, predicted, labels=seen, average="macro", zero_division=0)
    assert f1_macro(labels, predicted) == pytest.approx(expected)
    assert scores_of(probabilities, labels).f1_macro == pytest.approx(expected)


@settings(deadline=None, max_examples=40)
@given(scored())
def test_the_interval_of_f1_holds_f1(images: tuple[Probabilities, Labels]) -> None:
    """Also where all or nothing is right, and where one class alone has images."""
    found = scores_of(*images)
    interval = found.intervals["f1_macro"]
    assert 0 <= interval.low <= found.f1_macro <= interval.high <= 1


def test_a_classifier_without_mistakes_is_not_called_faultless() -> None:
    """60 of 60 right: the share wrong may be 3/60 (rule of three), so macro F1 as low."""
    labels = np.arange(60) % 3
    interval = scores_of(naming(labels, classes=3), labels).intervals["f1_macro"]
    assert interval.high == 1
    assert 0.93 < interval.low < 0.97


def test_certain_and_wrong_has_a_finite_loss() -> None:
    """A probability of 0 counts as 2.2e-16: 36.04 nats."""
    found = scores_of(naming([1], classes=2, confidence=1.0), np.array([0]))
    assert found.cross_entropy == pytest.approx(36.04, abs=0.01)


def row(*values: float) -> list[list[float]]:
    return [list(values)]


@pytest.mark.parametrize(
    ("probabilities", "labels", "said"),
    [
        (np.empty((0, 3)), np.empty(0, dtype=int), "no images"),
        (row(0.5, 0.5), [0, 1], "must be"),
        ([0.5, 0.5], [0], "must be"),
        (row(1.0), [0], "at least two"),
        (row(0.5, 0.5), [2], r"label 2 is not in \[0, 2\)"),
        (row(0.5, 0.5), [-1], "label -1"),
        (row(0.5, 0.5), [0.0], "integers"),
        (row(float("nan"), 0.5), [0], "finite"),
        (row(float("inf"), 0.5), [0], "finite"),
        (row(0.5, 0.6), [0], "sum to 1"),
        (row(1.5, -0.5), [0], "not negative"),
        (row(0.5, 0.25, 0.25), [0], "2 class names for 3 columns"),
    ],
)
def test_bad_input_is_refused_with_its_reason(
    probabilities: object, labels: object, said: str
) -> None:
    with pytest.raises(ValueError, match=said):
        evaluate(probabilities, labels, classes=["a", "b"], bins=15)  # type: ignore[arg-type]


class Clocked(torch.nn.Module):
    """Notes what it is given and with how many threads; some calls take longer."""

    def __init__(self, seconds: float) -> None:
        super().__init__()
        self.calls: list[tuple[tuple[int, ...], int]] = []
        self.seconds = seconds

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        self.calls.append((tuple(images.shape), torch.get_num_threads()))
        time.sleep(self.seconds)
        return images.float().mean((1, 2, 3))


def test_latency_is_the_median_of_single_images_on_one_thread() -> None:
    """Many calls of one image each; torch has its threads back afterwards."""
    network, threads = Clocked(0.001), torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        found = measure_latency_ms(network, np.zeros((1, 1, 8, 8), np.uint8))
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(threads)
    assert set(network.calls) == {((1, 1, 8, 8), 1)}
    assert len(network.calls) >= 100
    assert 1 <= found < 1000


def test_latency_of_a_slow_network_takes_seconds_not_minutes(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """It is timed while there is time, and five times at least."""
    monkeypatch.setattr(inference, "_MOST_SECONDS", 0.0)
    network = Clocked(0.02)
    assert measure_latency_ms(network, np.zeros((1, 3, 8, 8), np.uint8)) >= 20
    assert len(network.calls) == 5
