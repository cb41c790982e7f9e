"""Balanced accuracy, Matthews correlation, top-k, ROC AUC, Brier, intervals of classes, leads."""

import json

import numpy as np
import pytest
from evaluation_fixtures import Labels, Probabilities, guesses, naming, scored
from evaluation_fixtures import names as class_names
from hypothesis import given, settings
from hypothesis import strategies as st
from registry_records import evaluation, registration
from sklearn import metrics

from models.evaluation.further_scores import further_scores, top_k_of
from models.evaluation.outcomes import canonical, outcomes_of
from models.evaluation.records import FIRST_INTERVALS, LATER_SCORES, Evaluation
from models.evaluation.scores import evaluate
from models.evaluation.uncertainty.intervals import wilson, wilson_bounds
from models.gate.paired import lead_of

CATS = np.array([0, 0, 1, 1, 1, 2])
SAID = np.array(
    [
        [0.8, 0.1, 0.1],  # a cat called so
        [0.2, 0.7, 0.1],  # a cat called dog
        [0.1, 0.8, 0.1],
        [0.1, 0.8, 0.1],
        [0.6, 0.3, 0.1],  # a dog called cat
        [0.1, 0.7, 0.2],  # a hen called dog
    ]
)


def found_in(probabilities: Probabilities, labels: Labels) -> Evaluation:
    return evaluate(probabilities, labels, classes=class_names(probabilities.shape[1]), bins=10)


def test_further_scores_equal_the_values_worked_by_hand() -> None:
    """Two cats, three dogs, one hen; three of six are right."""
    found = found_in(SAID, CATS)

    # Recalls 1/2, 2/3 and 0.
    assert found.balanced_accuracy == pytest.approx(7 / 18)
    # Right 3 of 6; true (2, 3, 1), named (2, 4, 0): (3 * 6 - 16) / sqrt((36 - 20) (36 - 14)).
    assert found.mcc == pytest.approx(2 / np.sqrt(16 * 22))
    # Each image has its class among the two most probable ones.
    assert (found.top_k, found.top_k_accuracy) == (2, 1.0)
    # Cat 0.8, 0.2 against 0.1 0.1 0.6 0.1: 7 of 8; dog 0.8, 0.8, 0.3 against 0.1, 0.7, 0.7: 7 of 9;
    # hen 0.2 against five of 0.1: all.
    assert found.roc_auc == pytest.approx((7 / 8 + 7 / 9 + 1) / 3)
    # 0.04+0.01+0.01, 0.64+0.49+0.01, twice 0.01+0.04+0.01, 0.36+0.49+0.01, 0.01+0.49+0.64.
    assert found.brier == pytest.approx((0.06 + 1.14 + 0.06 + 0.06 + 0.86 + 1.14) / 6)
    cat = found.per_class[0].intervals
    assert cat["recall"] == cat["precision"] == wilson(1, 2)
    third = wilson(1, 3)  # right, missed and wrongly named: F1 is 2 s / (1 + s)
    assert cat["f1"].low == pytest.approx(2 * third.low / (1 + third.low))
    assert cat["f1"].high == pytest.approx(2 * third.high / (1 + third.high))
    assert set(found.per_class[2].intervals) == {"recall", "f1"}  # nothing was called hen


@settings(max_examples=30)
@given(scored())
def test_they_are_those_of_scikit_learn(images: tuple[Probabilities, Labels]) -> None:
    """For the classes that have images; and each interval holds its score, within its bounds."""
    outcomes = canonical(outcomes_of(*images))
    table, labels = outcomes.probabilities, outcomes.labels
    seen = np.unique(labels)

    further = further_scores(outcomes)

    values = further.values
    assert ("roc_auc" in values) == (len(seen) > 1)
    if len(seen) > 1:
        areas = [metrics.roc_auc_score(labels == one, table[:, one]) for one in seen]
        assert values["roc_auc"] == pytest.approx(np.mean(areas))
    k = top_k_of(table.shape[1])
    if k is not None:  # no two probabilities of these are equal
        right = [labels[row] in np.argsort(-table[row])[:k] for row in range(len(labels))]
        assert values["top_k_accuracy"] == pytest.approx(np.mean(right))
    truth = np.eye(table.shape[1])[labels]
    assert values["brier"] == pytest.approx(((table - truth) ** 2).sum(axis=1).mean())
    for name, interval in further.intervals.items():
        assert interval.low - 1e-12 <= interval.high
        if name != "brier":
            assert -1 <= interval.low <= values[name] <= interval.high <= 1


def test_brier_score_is_scikit_learns() -> None:
    probabilities, labels = guesses(200, 4, strength=2.0, seed=3)
    table = outcomes_of(probabilities, labels).probabilities
    expected = metrics.brier_score_loss(labels, table, scale_by_half=False)
    assert found_in(probabilities, labels).brier == pytest.approx(expected)


def test_top_k_is_never_below_the_accuracy() -> None:
    """Of equally probable classes the first counts, for both."""
    even = np.full((7, 7), 1 / 7)
    found = found_in(even, np.arange(7))
    assert (found.top_k, found.accuracy, found.top_k_accuracy) == (5, 1 / 7, 5 / 7)
    assert [top_k_of(classes) for classes in (2, 3, 5, 6, 1000)] == [None, 2, 2, 5, 5]


def test_one_class_alone_has_no_area_and_no_correlation() -> None:
    """Nothing to tell apart: null, and 0, without a warning."""
    found = found_in(naming([0, 0, 1], classes=2), np.zeros(3, np.int64))
    assert (found.roc_auc, found.mcc, found.top_k) == (None, 0, None)


def test_a_classifier_without_mistakes_is_called_faultless_in_no_score() -> None:
    """60 of 60: the share wrong may be as much as 3/60 (rule of three)."""
    labels = np.arange(60) % 3
    intervals = found_in(naming(labels, classes=3), labels).intervals
    for name in ("balanced_accuracy", "mcc", "roc_auc", "top_k_accuracy"):
        assert intervals[name].high == 1
        assert 0.9 < intervals[name].low < 0.985, name


@settings(max_examples=50)
@given(st.integers(0, 500), st.integers(1, 500))
def test_many_wilson_intervals_are_each_scipys(right: int, of: int) -> None:
    right = min(right, of)
    low, high = wilson_bounds(np.array([float(right)]), np.array([float(of)]))
    expected = wilson(right, of)
    assert (low[0], high[0]) == pytest.approx((expected.low, expected.high), abs=1e-9)


def test_an_evaluation_of_an_earlier_release_is_read_and_its_version_known_again() -> None:
    """Without the later scores; digests of what was registered are those of commit ad182f2."""
    found = found_in(*guesses(90, 4, strength=2.0, seed=0))
    stored = found.first

    old = Evaluation.model_validate_json(json.dumps(stored))

    assert (old.first, old.later) == (stored, {})
    assert set(found.later) == set(LATER_SCORES)
    assert set(old.intervals) == set(FIRST_INTERVALS)
    known = "d034e0e9283e0675c681b0476c45f96967e66a740b23cbee423e9fa31b6e4c46"
    assert registration("run").digest == known
    assert evaluation().later == {}


def test_a_lead_equals_the_value_worked_by_hand() -> None:
    """Ten images: four that only the first has right, one that only the other has."""
    right = np.array([1, 1, 1, 1, 0, 1, 1, 1, 0, 0], bool)
    other = np.array([0, 0, 0, 0, 1, 1, 1, 1, 0, 0], bool)

    lead = lead_of(right, other)

    assert (lead.images, lead.ahead, lead.behind) == (10, 4, 1)
    assert lead.accuracy == pytest.approx(0.3)
    # Two-sided sign test of 4 against 1: 2 (1 + 5) / 32.
    assert lead.p_value == pytest.approx(0.375)
    assert lead.interval.low < 0
    assert lead.interval.high > 0.3


def test_leads_of_the_same_classifier_are_nothing() -> None:
    right = np.array([True, False, True])
    lead = lead_of(right, right)
    assert (lead.accuracy, lead.p_value) == (0, 1)
    assert lead.interval.low < 0 < lead.interval.high
