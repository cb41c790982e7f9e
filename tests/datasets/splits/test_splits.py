"""Splits for life: what moves an image, and what never does."""

import hashlib
from random import Random

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from models.config import DataParams, Fractions
from models.datasets.labelled_images import SPLITS
from models.datasets.split_assignment import Assignment, Pictures, assign, picture_splits
from models.datasets.splits import TEST, TRAIN, VALIDATION, Claim, split_of
from models.errors import InputError

Row = tuple[int, int, Claim]
"""Which picture, its label, what it claims."""

ROWS = st.lists(
    st.tuples(st.integers(0, 60), st.integers(0, 2), st.sampled_from(Claim)), min_size=1
)


def ids_of(numbers: list[int]) -> NDArray[np.uint8]:
    joined = b"".join(hashlib.sha256(str(number).encode()).digest() for number in numbers)
    return np.frombuffer(joined, np.uint8).reshape(-1, 32)


def pictures_of(rows: list[Row]) -> Pictures:
    numbers, labels, claims = (list(column) for column in zip(*rows, strict=True))
    ids = ids_of(numbers)
    return Pictures(ids, ids, np.array(labels, np.int64), np.array(claims, np.int8))


def placed(rows: list[Row], data: DataParams | None = None) -> dict[bytes, str]:
    """Assign rows; picture -> split."""
    pictures = pictures_of(rows)
    assignment = assign(pictures, data or DataParams())
    return {
        bytes(pictures.ids[row]): split
        for split, chosen in zip(SPLITS, assignment.rows, strict=True)
        for row in chosen
    }


@given(st.lists(st.integers(0, 500), min_size=1), st.lists(st.integers(0, 500)))
def test_adding_undeclared_images_moves_none(old: list[int], new: list[int]) -> None:
    """Whatever is added, copies included, an image stays in the split it was in."""
    before = placed([(number, 0, Claim.NONE) for number in old])
    after = placed([(number, 0, Claim.NONE) for number in old + new])
    assert before.items() <= after.items()


Made = tuple[int, int]
"""Which picture, and which image it becomes by resizing."""
MADE = st.lists(st.tuples(st.integers(0, 60), st.integers(0, 9)), unique_by=lambda one: one[0])


def arriving(batches: list[list[Made]], claim: Claim = Claim.NONE) -> dict[int, str]:
    """Picture -> split, of batches that came one after another; the last one claims."""
    made = [one for batch in batches for one in batch]
    ranks = np.repeat(np.arange(len(batches)), [len(batch) for batch in batches])
    pictures = Pictures(
        ids=ids_of([number for number, _ in made]),
        prints=ids_of([1000 + image for _, image in made]),
        labels=np.zeros(len(made), np.int64),
        claims=np.where(ranks == len(batches) - 1, claim, Claim.NONE).astype(np.int8),
        arrivals=ranks,
    )
    rows = assign(pictures, DataParams()).rows
    return {
        made[row][0]: split for split, chosen in zip(SPLITS, rows, strict=True) for row in chosen
    }


@given(MADE, MADE, st.sampled_from([Claim.NONE, Claim.CARVED, Claim.TRAIN, Claim.VALIDATION]))
def test_pictures_that_resizing_makes_equal_to_older_ones_move_none(
    old: list[Made], new: list[Made], claim: Claim
) -> None:
    """Each that is there stays and keeps its split, unless it comes again or is declared test."""
    kept = {number for number, _ in old}
    others = [one for one in new if one[0] not in kept]

    assert arriving([old, []]).items() <= arriving([old, others], claim).items()


def test_of_pictures_that_come_at_once_the_one_in_test_stays() -> None:
    """By their ids 3 is in train and 8 in test; of what comes later the older one stays."""
    assert arriving([[(3, 0), (8, 1)]]) == {3: "train", 8: "test"}

    assert arriving([[(3, 0), (8, 0)]]) == {8: "test"}
    assert arriving([[(3, 0)], [(8, 0)]]) == {3: "train"}
    assert arriving([[(8, 0)], [(3, 0)]]) == {8: "test"}
    assert arriving([[(3, 0)], [(1, 0)]], Claim.TEST) == {1: "test"}


@given(ROWS, st.randoms())
def test_order_never_matters(rows: list[Row], random: Random) -> None:
    """Any order of rows, so of batches and file names, gives the same splits."""
    shuffled = list(rows)
    random.shuffle(shuffled)
    assert placed(rows) == placed(shuffled)


@given(ROWS)
def test_copies_never_matter(rows: list[Row]) -> None:
    """Every row twice gives the splits of every row once."""
    assert placed(rows) == placed(rows + rows)


@given(ROWS)
def test_every_row_is_kept_once_or_accounted_for(rows: list[Row]) -> None:
    """No picture is in two splits, and rows = kept + every reason for dropping."""
    pictures = pictures_of(rows)
    assignment = assign(pictures, DataParams())
    kept = np.concatenate(assignment.rows)
    assert len({bytes(pictures.ids[row]) for row in kept}) == len(kept)
    dropped = assignment.dropped
    counted = dropped.duplicates + dropped.conflicts + dropped.alike + dropped.limited
    assert len(kept) + counted == len(rows)


@given(ROWS, st.integers(1, 30))
def test_a_smaller_limit_is_within_a_greater_one(rows: list[Row], limit: int) -> None:
    """What a limit keeps, the next greater limit keeps in the same split."""
    less = placed(rows, DataParams(limit=limit))
    more = placed(rows, DataParams(limit=limit + 1))
    assert less.items() <= more.items()


@given(ROWS, st.sets(st.integers(0, 30), min_size=2), st.integers(1, 5))
def test_a_limit_never_cuts_a_declared_test_split(
    rows: list[Row], declared: set[int], limit: int
) -> None:
    """Every picture declared test is in test, however small the limit."""
    one_label = [(number, 0, claim) for number, _, claim in rows]
    one_label += [(number, 0, Claim.TEST) for number in declared]
    splits = placed(one_label, DataParams(limit=limit))
    assert {splits.get(bytes(ids_of([number])[0])) for number in declared} == {"test"}


@pytest.mark.parametrize(
    ("claims", "split"),
    [
        ([Claim.TRAIN], "train"),
        ([Claim.VALIDATION], "validation"),
        ([Claim.TEST], "test"),
        ([Claim.TRAIN, Claim.TEST], "test"),
        ([Claim.VALIDATION, Claim.TRAIN], "validation"),
        ([Claim.TEST, Claim.VALIDATION], "test"),
        ([Claim.NONE, Claim.TRAIN, Claim.CARVED], "train"),
    ],
)
def test_declared_splits_are_kept_and_the_greatest_claim_wins(
    claims: list[Claim], split: str
) -> None:
    """Test beats validation beats train, and any declaration beats the hash."""
    for number in range(20):
        rows = [(number, 0, claim) for claim in claims]
        assert set(placed(rows).values()) == {split}


def test_an_eviction_is_listed_with_both_splits() -> None:
    """A copy declared train of a picture declared test is named, and where it stays."""
    rows = [(1, 0, Claim.TRAIN), (1, 0, Claim.TEST), (1, 0, Claim.TRAIN), (2, 0, Claim.TRAIN)]
    dropped = assign(pictures_of(rows), DataParams()).dropped
    assert [(e.id, e.split, e.kept) for e in dropped.evictions] == [
        (ids_of([1])[0].tobytes().hex(), "train", "test")
    ]
    assert (dropped.duplicates, dropped.across_splits) == (2, 1)


def test_pictures_under_two_labels_go_with_all_their_copies() -> None:
    """Three rows of a picture labelled both ways are dropped; refuse raises instead."""
    rows = [(1, 0, Claim.NONE), (1, 1, Claim.NONE), (1, 0, Claim.NONE), (2, 0, Claim.NONE)]
    assignment = assign(pictures_of(rows), DataParams())
    assert assignment.dropped.conflicts == 3
    assert sum(map(len, assignment.rows)) == 1
    with pytest.raises(InputError, match=r"3 images .* under another label"):
        assign(pictures_of(rows), DataParams(conflicts="refuse"))


def twins(claims: tuple[Claim, Claim], labels: tuple[int, int] = (0, 0)) -> Assignment:
    """Two pictures that become one when resized."""
    prints = np.repeat(ids_of([9]), 2, axis=0)
    pictures = Pictures(
        ids_of([1, 2]), prints, np.array(labels, np.int64), np.array(claims, np.int8)
    )
    return assign(pictures, DataParams())


def test_pictures_that_resizing_makes_equal_count_once() -> None:
    """The one in test stays, the one in train is evicted; under two labels both go."""
    kept = twins((Claim.TRAIN, Claim.TEST))
    assert [len(rows) for rows in kept.rows] == [0, 0, 1]
    assert (kept.dropped.alike, kept.dropped.across_splits) == (1, 1)
    torn = twins((Claim.TRAIN, Claim.TEST), (0, 1))
    assert sum(map(len, torn.rows)) == 0
    assert torn.dropped.conflicts == 2


@pytest.mark.parametrize("fractions", [(0.15, 0.2), (0.05, 0.05), (0.4, 0.4)])
@pytest.mark.parametrize("claim", [Claim.NONE, Claim.CARVED])
def test_shares_hold_within_binomial_bounds(fractions: tuple[float, float], claim: Claim) -> None:
    """Of 20,000 images, and of each of ten classes, shares are within four deviations."""
    validation, test = fractions
    ids = ids_of(list(range(20_000)))
    splits = split_of(
        ids, np.full(len(ids), claim, np.int8), Fractions(validation=validation, test=test)
    )
    wanted = {VALIDATION: validation, TEST: test if claim is Claim.NONE else 0.0}
    for part in (splits, *(splits[number::10] for number in range(10))):
        for split, share in wanted.items():
            bound = 4 * (share * (1 - share) / len(part)) ** 0.5
            assert abs(np.mean(part == split) - share) <= bound


def test_a_worked_example_stays_where_it_is() -> None:
    """Golden: halves of SHA-256 as shares; a change here would move everybody's images."""
    made = np.zeros((5, 32), np.uint8)
    made[0, 0], made[0, 8] = 0x33, 0  # 0.1992 < 0.2: test
    made[1, 0], made[1, 8] = 0x34, 0x2F  # 0.2031; 0.1836 < 0.15 / 0.8 = 0.1875: validation
    made[2, 0], made[2, 8] = 0x34, 0x31  # 0.1914: train
    made[3, 0], made[3, 8] = 0, 0x26  # 0.1484 < 0.15: validation, where train is declared
    made[4, 0], made[4, 8] = 0, 0x27  # 0.1523: train, where train is declared
    claims = np.array([Claim.NONE] * 3 + [Claim.CARVED] * 2, np.int8)
    assert split_of(made, claims, Fractions()).tolist() == [
        TEST,
        VALIDATION,
        TRAIN,
        VALIDATION,
        TRAIN,
    ]


def test_pictures_are_listed_once_with_their_split() -> None:
    """Two rows of one picture are one entry, with the greater claim's split."""
    rows: list[Row] = [(1, 0, Claim.TRAIN), (2, 0, Claim.TRAIN), (1, 0, Claim.TEST)]
    ids = ids_of([1, 2, 1])
    once, splits = picture_splits(pictures_of(rows), DataParams())
    found = {bytes(row): int(split) for row, split in zip(once, splits, strict=True)}
    assert found == {bytes(ids[0]): TEST, bytes(ids[1]): TRAIN}
