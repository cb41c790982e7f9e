"""Slices: a partition by stated edges, exact tests, one error rate for all, an honest search."""

from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy import stats

from models.datasets.sources.origins import Origins
from models.evaluation.slices.clusters import find_clusters
from models.evaluation.slices.membership import (
    Slice,
    all_slices,
    slices_by_name,
    slices_by_quantiles,
)
from models.evaluation.slices.records import FEWEST, SliceReport
from models.evaluation.slices.scoring import MOST_OF_A_KIND, score_slices, worse_p

TEN = tuple("0123456789")


def rows(first: int, last: int, *, name: str = "a") -> Slice:
    """Images first to last - 1, as a batch."""
    return Slice("batch", name, np.arange(first, last))


def right_but(wrong: Sequence[int], *, images: int) -> NDArray[np.bool_]:
    """All images are right but these."""
    right = np.ones(images, bool)
    right[list(wrong)] = False
    return right


def test_ranges_worked_by_hand() -> None:
    """Edges are values of images, and the upper one belongs to the range."""
    found = slices_by_quantiles("brightness", np.array([8.0, 7, 6, 5, 4, 3, 2, 1]))

    assert [(one.name, one.rows.tolist(), one.edges) for one in found] == [
        ("<= 2", [6, 7], (1, 2)),
        ("> 2, <= 4", [4, 5], (2, 4)),
        ("> 4, <= 6", [2, 3], (4, 6)),
        ("> 6", [0, 1], (6, 8)),
    ]


def test_equal_values_are_in_one_range() -> None:
    """Of three values two ranges are left; of one value none, for there is nothing beside it."""
    found = slices_by_quantiles("size", np.array([28.0] * 6 + [32.0] * 1 + [64.0] * 1))

    assert [(one.name, len(one.rows)) for one in found] == [("<= 28", 6), ("> 28", 2)]
    assert slices_by_quantiles("size", np.full(9, 28.0)) == []


@given(st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=60))
def test_every_image_is_in_the_one_range_whose_edges_hold_it(values: list[float]) -> None:
    numbers = np.array(values)
    found = slices_by_quantiles("contrast", numbers)
    if not found:
        found = [Slice("contrast", "all", np.arange(len(values)), (min(values), max(values)))]

    assert sorted(row for one in found for row in one.rows.tolist()) == list(range(len(values)))
    for place, one in enumerate(found):
        assert one.edges is not None
        low, high = one.edges
        above = numbers[one.rows] >= low if place == 0 else numbers[one.rows] > low
        assert (above & (numbers[one.rows] <= high)).all()


def test_a_name_that_all_images_have_is_no_slice_and_one_without_a_name_is_in_none() -> None:
    assert slices_by_name("group", ["a", "a", "a"]) == []
    found = slices_by_name("group", ["b", None, "a", "b"])
    assert [(one.name, one.rows.tolist()) for one in found] == [("a", [2]), ("b", [0, 3])]


def test_all_slices_are_of_classes_and_facts() -> None:
    """A picture's class, grey levels, batch, group and original size; in this order."""
    images = np.arange(8, dtype=np.uint8).repeat(4).reshape(8, 1, 2, 2)
    images[:, :, 0] += np.arange(0, 80, 10, dtype=np.uint8)[:, None, None]
    origins = Origins(
        batches=("old",) * 4 + ("new",) * 4,
        sizes=np.array([[10, 40]] * 4 + [[30, 30]] * 4, np.int32),
        groups=(None,) * 6 + ("camera 1", "camera 2"),
    )
    found = all_slices(images, np.arange(8) % 2, classes=("cat", "dog"), origins=origins)
    without = all_slices(images, np.arange(8) % 2, classes=("cat", "dog"), origins=None)

    labels = [one.label for one in found]
    assert labels[:2] == ["class cat", "class dog"]
    assert labels[-6:] == [
        *("size <= 20", "size > 20", "batch new", "batch old"),
        *("group camera 1", "group camera 2"),
    ]
    assert {one.kind for one in without} == {"class", "brightness", "contrast"}


def test_p_values_worked_by_hand() -> None:
    """Of 4 images 2 are right; a slice of 2: none right in 1 of 6 draws, one or none in 5 of 6."""
    found = worse_p(np.array([0, 1, 2]), np.array([2, 2, 2]), right=2, images=4)
    assert found == pytest.approx([1 / 6, 5 / 6, 1])


@settings(max_examples=40)
@given(st.integers(2, 60), st.data())
def test_p_values_are_scipys_of_fishers_test(images: int, data: st.DataObject) -> None:
    right = data.draw(st.integers(0, images))
    size = data.draw(st.integers(1, images - 1))
    inside = data.draw(st.integers(max(0, size - (images - right)), min(size, right)))
    table = [[inside, size - inside], [right - inside, images - size - (right - inside)]]
    (found,) = worse_p(np.array([inside]), np.array([size]), right=right, images=images)
    assert found == pytest.approx(stats.fisher_exact(table, alternative="less").pvalue)


def test_scores_worked_by_hand() -> None:
    """40 images, of which 5 are wrong, all in the first half: so in C(20,5) / C(40,5) of draws."""
    right = right_but([0, 3, 7, 11, 19], images=40)
    report = score_slices(right, [rows(20, 40, name="b"), rows(0, 20)])
    worse, other = report.slices

    assert (worse.name, worse.images, worse.right, worse.accuracy) == ("a", 20, 15, 0.75)
    assert (worse.difference, other.difference) == (-0.25, 0.25)
    assert worse.p_value == pytest.approx(15504 / 658008)
    # Wilson, z = 1.96: (15 + 1.92) / 23.84 -+ 1.96 sqrt(15 * 5 / 20 + 0.96) / 23.84.
    assert worse.interval.low == pytest.approx(0.531, abs=5e-4)
    assert worse.interval.high == pytest.approx(0.888, abs=5e-4)
    assert worse.difference_interval.low < -0.25 < worse.difference_interval.high < 0
    assert (worse.distinct, other.distinct) == (True, False)  # 0.0236 <= 0.05 / 2
    assert report.worst == worse
    assert "1 is worse than the rest" in report.sentence
    assert "batch a: accuracy 0.750 (0.531 to 0.888) on 20 test images, -25.0 points" in (
        report.sentence
    )


def test_more_slices_make_the_same_difference_less_sure() -> None:
    """With a third one 0.0236 is above 0.05 / 3; and that is no proof of anything."""
    right = right_but([0, 3, 7, 11, 19], images=40)
    report = score_slices(right, [rows(0, 20), rows(20, 40, name="b"), rows(10, 30, name="c")])

    assert report.distinct == ()
    assert report.worst is None
    assert "none is worse" in report.sentence
    assert "no proof" in report.sentence


def test_small_slices_and_the_smallest_of_many_are_not_tested_and_counted() -> None:
    """By their size alone, which tells nothing of mistakes."""
    right = np.ones(3000, bool)
    small = [rows(0, FEWEST - 1, name="small"), rows(0, 3000 - FEWEST + 1, name="nearly all")]
    many = [rows(0, FEWEST + at, name=f"{at:03}") for at in range(MOST_OF_A_KIND + 2)]
    report = score_slices(right, [*small, *many])

    assert (report.small, report.beyond, len(report.slices)) == (2, 2, MOST_OF_A_KIND)
    assert {"000", "001"} & {one.name for one in report.slices} == set()
    assert "2 slices of fewer than 20 images; 2 smaller ones" in report.left_out
    nothing = score_slices(right[:30], [rows(0, 15)])
    assert nothing.slices == ()
    assert "none is tested" in nothing.sentence


@settings(max_examples=25)
@given(st.integers(0, 2**32 - 1), st.floats(0, 1))
def test_the_order_of_slices_changes_nothing_and_a_report_is_read_as_it_was_written(
    seed: int, accuracy: float
) -> None:
    generator = np.random.default_rng(seed)
    right = generator.random(120) < accuracy
    found = [
        *slices_by_quantiles("brightness", generator.random(120)),
        *slices_by_name("class", generator.choice(["a", "b"], 120).tolist()),
    ]
    report = score_slices(right, found)

    assert score_slices(right, [*found[4:], *found[:4]]) == report
    assert SliceReport.model_validate_json(report.model_dump_json()) == report
    for one in report.slices:
        assert one.interval.low <= one.accuracy <= one.interval.high
        assert one.difference_interval.low <= one.difference <= one.difference_interval.high


def embedded(
    images: int, generator: np.random.Generator
) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Embeddings of ten classes, (images, 8), and the labels."""
    labels = generator.integers(0, 10, images)
    centres = 3 * np.random.default_rng(0).normal(size=(10, 8))
    return (centres[labels] + generator.normal(size=(images, 8))).astype(np.float32), labels


def test_mistakes_that_gather_in_a_corner_are_found_and_named() -> None:
    """Nines at one end of the first feature are taken for fours, on validation and on test."""
    generator = np.random.default_rng(1)
    splits = []
    for images in (600, 600):
        embeddings, labels = embedded(images, generator)
        corner = (np.arange(images) % 12) == 0
        labels = np.where(corner, 9, labels)
        embeddings[corner] = generator.normal(size=(corner.sum(), 8)) - 12
        predicted = np.where(corner & (generator.random(images) < 0.6), 4, labels)
        splits.append((embeddings, labels, predicted, corner))
    (embeddings, labels, predicted, _), (others, truth, named, corner) = splits

    clusters = find_clusters(embeddings, labels, predicted, classes=TEN)
    again = find_clusters(embeddings, labels, predicted, classes=TEN)

    assert clusters is not None
    assert again is not None
    assert clusters.names == ("1 (9 taken for 4)",)
    assert clusters.centres.tobytes() == again.centres.tobytes()
    inside = clusters.place(others) == clusters.chosen[0]
    assert (inside == corner).mean() > 0.99
    report = score_slices(truth == named, [Slice("cluster", "1", np.flatnonzero(inside))])
    assert report.worst is not None


@pytest.mark.parametrize(
    ("images", "wrong", "spread"),
    [(99, 30, 1.0), (300, 2, 1.0), (300, 0, 1.0), (300, 30, 0.0)],
    ids=["few images", "two mistakes", "no mistake", "all alike"],
)
def test_where_there_is_nothing_to_search_there_are_no_clusters(
    images: int, wrong: int, spread: float
) -> None:
    labels = np.zeros(images, np.int64)
    predicted = (np.arange(images) < wrong).astype(np.int64)
    embeddings = spread * np.random.default_rng(0).normal(size=(images, 4)).astype(np.float32)
    assert find_clusters(embeddings, labels, predicted, classes=TEN) is None


def test_few_different_embeddings_are_as_many_parts() -> None:
    """300 images in two places: the one with the mistakes is the cluster."""
    labels = np.zeros(300, np.int64)
    embeddings = np.repeat([[0.0], [1.0]], 150, axis=0).astype(np.float32)
    clusters = find_clusters(embeddings, labels, (np.arange(300) >= 290) * 1, classes=TEN)

    assert clusters is not None
    assert len(clusters.centres) == 2
    assert (clusters.place(embeddings) == clusters.chosen[0]).tolist() == [False] * 150 + [
        True
    ] * 150


def without_difference(generator: np.random.Generator, *, images: int) -> SliceReport:
    """Slices and clusters of as many test images, of which each is wrong with the same chance."""
    embeddings, labels = embedded(2 * images, generator)
    wrong = generator.random(2 * images) < 0.2
    named = np.where(wrong, (labels + 1) % 10, labels)
    sought, held = slice(0, images), slice(images, 2 * images)
    clusters = find_clusters(embeddings[sought], labels[sought], named[sought], classes=TEN)
    assert clusters is not None
    places = clusters.place(embeddings[held])
    members = (np.flatnonzero(places == part) for part in clusters.chosen)
    cut = [
        *slices_by_name("class", [TEN[label] for label in labels[held]]),
        *slices_by_quantiles("brightness", generator.random(images)),
        *(Slice("cluster", str(at), found) for at, found in enumerate(members) if len(found)),
    ]
    return score_slices(~wrong[held], cut)


def test_where_nothing_differs_at_most_one_split_in_twenty_has_a_worse_slice() -> None:
    """The search for clusters included. Of 100 splits more than 11 are called worse once in 90 at a
    true rate of 5 %; without Holm's correction they are, many times.
    """
    generator = np.random.default_rng(7)
    reports = [without_difference(generator, images=200) for _ in range(100)]

    assert sum(bool(report.distinct) for report in reports) <= 11
    assert sum(min(one.p_value for one in report.slices) <= 0.05 for report in reports) > 22
