"""Classes by name: the same answers whatever order the classes stand in."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.datasets.class_order import map_labels, reorder_columns
from models.errors import InputError

NAMES = ("ankle", "bag", "coat", "dress")


@given(st.permutations(NAMES), st.permutations(NAMES))
def test_columns_and_labels_go_by_name(theirs: list[str], ours: list[str]) -> None:
    """A row that is sure of its label's class is so in any order."""
    labels = np.array([3, 0, 1, 2, 3])
    sure = np.eye(4, dtype=np.float32)[labels]
    moved = map_labels(labels, theirs, ours)
    assert [ours[label] for label in moved] == [theirs[label] for label in labels]
    assert np.array_equal(reorder_columns(sure, theirs, ours).argmax(axis=1), moved)
    assert np.array_equal(reorder_columns(reorder_columns(sure, theirs, ours), ours, theirs), sure)


def test_golden() -> None:
    """Worked by hand: columns (b, a) as (a, b)."""
    given_ = np.array([[0.9, 0.1], [0.2, 0.8]], np.float32)
    wanted = np.array([[0.1, 0.9], [0.8, 0.2]], np.float32)
    assert np.array_equal(reorder_columns(given_, ("b", "a"), ("a", "b")), wanted)


def test_classes_that_one_side_does_not_have_are_named() -> None:
    """No column is made up and none is left out; labels may leave out a class that is not used."""
    one = np.full((1, 2), 0.5, np.float32)
    with pytest.raises(InputError, match="does not know class c"):
        reorder_columns(one, ("a", "b"), ("a", "c"))
    with pytest.raises(InputError, match="knows class b, which today"):
        reorder_columns(one, ("a", "b"), ("a",))
    assert map_labels(np.array([0]), ("a", "b"), ("c", "a")).tolist() == [1]
    with pytest.raises(InputError, match="unknown classes b; known are: c, a"):
        map_labels(np.array([1]), ("a", "b"), ("c", "a"))
