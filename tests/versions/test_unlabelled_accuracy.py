"""Accuracy without labels: golden values, what the assumptions promise, and where it is silent."""

import dataclasses

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models.monitoring.accuracy import (
    class_proportions,
    estimate_accuracy,
    share_above_threshold,
)
from models.monitoring.records import UnlabelledAccuracy
from models.monitoring.sample import Sample

CLASSES = ("a", "b", "c")
RECALL = np.array([0.95, 0.8, 0.6])


def seen(count: int, seed: int, *, shares: tuple[float, ...] = (0.4, 0.3, 0.3)) -> Sample:
    """Images of three classes, right with RECALL; where it is wrong the network is less sure."""
    random = np.random.default_rng(seed)
    labels = random.choice(3, count, p=shares)
    right = random.random(count) < RECALL[labels]
    others = (labels + random.integers(1, 3, count)) % 3
    return Sample(
        ids=random.integers(256, size=(count, 32)).astype(np.uint8),
        times=np.ones(count, np.int64),
        brightness=np.zeros(count),
        contrast=np.zeros(count),
        embeddings=np.zeros((count, 1)),
        predicted=np.where(right, labels, others),
        confidence=np.where(right, random.uniform(0.7, 1, count), random.uniform(0.3, 0.7, count)),
        labels=labels,
    )


def estimated(reference: Sample, batch: Sample) -> UnlabelledAccuracy | None:
    generator = np.random.default_rng(0)
    return estimate_accuracy(reference, batch, classes=CLASSES, generator=generator)


def test_the_threshold_by_hand() -> None:
    """Two of five are wrong, so that two lie below 0.6; of the batch three of four do not."""
    right = np.array([True, False, True, False, True])
    confidence = np.array([0.9, 0.5, 0.6, 0.7, 0.4])
    assert share_above_threshold(right, confidence, np.array([0.6, 0.61, 0.59, 1.0])) == 0.75
    assert share_above_threshold(np.zeros(5, bool), confidence, confidence) == 0


def test_class_shares_by_hand() -> None:
    """Recalls of 0.8: 0.62 predicted as the first class are 0.7 of it, as 0.8 * 0.7 + 0.2 * 0.3."""
    found = class_proportions(np.array([[40, 10], [10, 40]]), np.array([62, 38]))
    assert found == pytest.approx([0.7, 0.3])


@settings(max_examples=10, deadline=None)
@given(seed=st.integers(0, 2**32 - 1))
def test_on_its_own_reference_it_is_the_accuracy_there(seed: int) -> None:
    """By both methods, exactly, and within its interval."""
    reference = seen(400, seed)
    found = estimated(reference, reference)
    assert found is not None
    accuracy = np.mean(reference.labels == reference.predicted)
    assert found.reference == pytest.approx(accuracy)
    for one in found.estimates:
        assert one.accuracy == pytest.approx(accuracy)
        assert one.interval.low <= accuracy <= one.interval.high


def test_where_only_the_shares_changed_both_find_the_accuracy() -> None:
    """The hardest class is 70 % instead of 30: 0.68 right; and its share is found."""
    found = estimated(seen(4000, 1), seen(4000, 2, shares=(0.2, 0.1, 0.7)))
    assert found is not None
    assert [one.method for one in found.estimates] == ["ATC", "BBSE"]
    for one in found.estimates:
        assert one.accuracy == pytest.approx(0.69, abs=0.03)
        assert one.interval.high < found.reference
    assert found.proportions[2].interval.low < 0.7 < found.proportions[2].interval.high
    assert "estimated without labels" in found.sentence


def test_without_labels_or_a_telling_network_nothing_is_made_up() -> None:
    """No labels: none at all. One class predicted for all: no shares, no BBSE."""
    batch = seen(100, 2)
    unlabelled = dataclasses.replace(seen(100, 1), labels=np.full(100, -1))
    assert estimated(unlabelled, batch) is None
    blind = dataclasses.replace(seen(100, 1), predicted=np.zeros(100, np.int64))
    found = estimated(blind, batch)
    assert found is not None
    assert [one.method for one in found.estimates] == ["ATC"]
    assert found.proportions == ()
