"""The best trial against the others: paired tests on the same images, worked by hand."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from registry_records import trial_result, trial_spec

from models.config.trial import Objective
from models.evaluation.outcomes import Predictions
from models.evaluation.stored_predictions import read_predictions, save_predictions
from models.search.told_apart import p_value, tell_apart

OBJECTIVES: list[Objective] = ["accuracy", "f1_macro", "cross_entropy"]


def predictions(right: list[bool]) -> Predictions:
    """Of two classes by turns; a loss of 0.1 where right, of 2 where wrong."""
    labels = np.arange(len(right)) % 2
    hit = np.array(right)
    return Predictions(
        labels=labels,
        predicted=np.where(hit, labels, 1 - labels),
        losses=np.where(hit, 0.1, 2.0),
    )


def trials(ahead: int, behind: int, *, images: int = 300) -> tuple[Predictions, Predictions]:
    """Two of which either alone is right on so many images; one in ten both have wrong."""
    wrong, rest = images // 10, images - images // 10 - ahead - behind
    one = [True] * ahead + [False] * behind + [True] * rest + [False] * wrong
    other = [False] * ahead + [True] * behind + [True] * rest + [False] * wrong
    return predictions(one), predictions(other)


@pytest.mark.parametrize("by", OBJECTIVES)
def test_fifteen_images_ahead_and_none_behind_is_no_luck(by: Objective) -> None:
    """Five points of 300 images lie within the unpaired error; the pairs give 2 / 2**15."""
    best, other = trials(15, 0)

    found = tell_apart(best, {"other": other}, by)["other"]

    assert found.distinguishable
    assert found.p_value < 0.01
    if by == "accuracy":
        assert found.p_value == pytest.approx(2 / 2**15)


@pytest.mark.parametrize("by", OBJECTIVES)
def test_eight_ahead_and_seven_behind_is_not_distinguishable(by: Objective) -> None:
    """Nor are two that predict the same."""
    best, other = trials(8, 7)

    found = tell_apart(best, {"other": other, "same": best}, by)

    assert not found["other"].distinguishable
    assert found["other"].p_value > 0.5
    assert (found["same"].p_value, found["same"].distinguishable) == (1.0, False)


def test_of_several_each_is_held_to_less() -> None:
    """Six to none is 2/64: told apart alone, and not where two are compared; after a surer one it
    is the last of the steps.
    """
    best, close = trials(6, 0)
    far = predictions([False] * 100 + [True] * 200)

    assert tell_apart(best, {"a": close}, "accuracy")["a"].distinguishable
    two = tell_apart(best, {"a": close, "b": close}, "accuracy")
    assert [one.distinguishable for one in two.values()] == [False, False]
    steps = tell_apart(best, {"a": close, "far": far}, "accuracy")
    assert [one.distinguishable for one in steps.values()] == [True, True]


@pytest.mark.parametrize(("images", "expected"), [(5, 2 / 32), (6, 2 / 64), (40, 2 / 2**40)])
def test_cross_entropy_by_exchanged_signs(images: int, expected: float) -> None:
    """Better by the same on each image: of the 2**n exchanges this one alone is as extreme. Forty
    are bounded by Hoeffding's exp(-n / 2) without a draw.
    """
    labels = np.arange(images) % 2
    best, other = (
        Predictions(labels=labels, predicted=labels, losses=np.full(images, loss))
        for loss in (0.1, 0.2)
    )

    found = p_value(best, other, "cross_entropy", level=0.05)

    if images < 40:
        assert found == pytest.approx(expected, abs=0.02)
    else:
        assert expected < found <= 2 * np.exp(-images / 2) * (1 + 1e-9)


@given(ahead=st.integers(0, 30), behind=st.integers(0, 30), by=st.sampled_from(OBJECTIVES))
def test_whoever_is_called_the_best_the_answer_is_the_same(
    ahead: int, behind: int, by: Objective
) -> None:
    """After a confirmation the selected trial may have the worse score here."""
    one, other = trials(ahead, behind)

    there, back = p_value(one, other, by, level=0.05), p_value(other, one, by, level=0.05)

    assert 0 < there <= 1
    assert there == pytest.approx(back, rel=0.5, abs=0.1)


def test_among_equals_few_are_called_different() -> None:
    """Five that guess alike, 200 times: the best of them is told from any at most so often as
    5 % of the best against each of four would be, had it been chosen by the same images.
    """
    generator = np.random.default_rng(0)
    different = 0
    for _ in range(200):
        drawn = [predictions((generator.random(300) < 0.9).tolist()) for _ in range(5)]
        best, *others = sorted(drawn, key=lambda one: -int(one.right.sum()))
        found = tell_apart(best, {str(n): one for n, one in enumerate(others)}, "accuracy")
        different += found[str(len(others) - 1)].distinguishable
    assert different / 200 < 0.1


def test_predictions_are_kept_whole_or_not_at_all(tmp_path: Path) -> None:
    """Read as written; what is damaged, cut or of other weights counts as missing."""
    result = trial_result(trial_spec())
    best, _ = trials(3, 2, images=30)
    assert read_predictions(tmp_path, result) is None

    save_predictions(tmp_path, result, best)

    read = read_predictions(tmp_path, result)
    assert read is not None
    for name in ("labels", "predicted", "losses"):
        assert getattr(read, name).tolist() == getattr(best, name).tolist()
    others = result.model_copy(update={"weights_digest": "f" * 64})
    assert read_predictions(tmp_path, others) is None
    (file,) = tmp_path.iterdir()
    for damaged in (file.read_bytes()[:-9], b"", file.read_bytes().replace(b"\0", b"\1")):
        file.write_bytes(damaged)
        assert read_predictions(tmp_path, result) is None
