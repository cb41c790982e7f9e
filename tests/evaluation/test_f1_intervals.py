"""Draws of macro F1: the same as drawing every cell, covering the truth, bounded in memory."""

import math
import tracemalloc

import numpy as np
import numpy.typing as npt
import pytest

from models.evaluation.scores import f1_macro
from models.evaluation.uncertainty import bootstrap
from models.evaluation.uncertainty.bootstrap import PSEUDO_ERRORS, PSEUDO_RIGHT, drawn_f1_macro

Integers = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]


def noisy(labels: Integers, right: float, seed: int, classes: int = 3) -> Integers:
    """Predictions of which about the given share is right."""
    generator = np.random.default_rng(seed)
    guessed = generator.integers(0, classes, len(labels))
    return np.where(generator.random(len(labels)) < right, labels, guessed)


def f1_of(confusion: Floats) -> Floats:
    """Macro F1 of confusion matrices, (draws, k, k) -> (draws,)."""
    right = np.diagonal(confusion, axis1=1, axis2=2)
    either = confusion.sum(axis=1) + confusion.sum(axis=2)
    return np.asarray((2 * right / either).mean(axis=1))


def test_draws_are_those_of_a_dirichlet_over_all_cells() -> None:
    """Every cell drawn by itself, prior and all, gives the same mean, spread and tails."""
    labels = np.repeat([0, 1, 2], [30, 12, 6])
    predicted = noisy(labels, 0.7, seed=1)
    parameters = np.zeros((3, 3))
    np.add.at(parameters, (labels, predicted), 1)
    parameters += np.where(np.eye(3), PSEUDO_RIGHT / 3, PSEUDO_ERRORS / 6)

    plain = f1_of(np.random.default_rng(0).dirichlet(parameters.ravel(), 20_000).reshape(-1, 3, 3))
    (quick,) = drawn_f1_macro(
        labels, [predicted], classes=3, generator=np.random.default_rng(1), resamples=20_000
    )

    ends = [0.025, 0.25, 0.5, 0.75, 0.975]
    assert np.quantile(quick, ends) == pytest.approx(np.quantile(plain, ends), abs=0.008)
    assert quick.std() == pytest.approx(plain.std(), rel=0.03)


def test_two_on_the_same_images_share_their_luck() -> None:
    """The difference of equal predictions is 0 but for the prior; each alone spreads as alone."""
    labels = np.arange(300) % 3
    predicted = noisy(labels, 0.8, seed=2)

    one, other = drawn_f1_macro(
        labels,
        [predicted, predicted],
        classes=3,
        generator=np.random.default_rng(3),
        resamples=4000,
    )
    (alone,) = drawn_f1_macro(
        labels, [predicted], classes=3, generator=np.random.default_rng(4), resamples=4000
    )

    assert one.std() == pytest.approx(alone.std(), rel=0.06)
    assert (one - other).std() < 0.25 * one.std()
    assert abs((one - other).mean()) < 3e-4


CASES = {
    "60 images, 3 classes, 98 % right": (60, [1 / 3] * 3, [0.98] * 3),
    "100 images, skewed": (100, [0.8, 0.15, 0.05], [0.97, 0.85, 0.7]),
    "200 images, 10 classes": (200, [0.1] * 10, [0.9] * 10),
}


@pytest.mark.parametrize("name", CASES)
def test_intervals_cover_the_truth_as_often_as_they_say(name: str) -> None:
    """95 % +- 3 points and the chance of 200 splits; resampled images gave 69, 83 and 93 %."""
    images, shares, right = CASES[name]
    k, source = len(shares), np.random.default_rng(5)
    cells = np.where(np.eye(k), right, (1 - np.array(right)[:, None]) / (k - 1))
    cells = cells * np.array(shares)[:, None]
    truth, splits, inside = float(f1_of(cells[None])[0]), 200, 0
    for _ in range(splits):
        labels, predicted = np.divmod(source.choice(k * k, images, p=cells.ravel()), k)
        (draws,) = drawn_f1_macro(labels, [predicted], classes=k, generator=source, resamples=200)
        low, high = np.quantile(draws, [0.025, 0.975])
        inside += low <= truth <= max(high, f1_macro(labels, predicted))
    chance = 2 * math.sqrt(0.95 * 0.05 / splits)
    assert abs(inside / splits - 0.95) <= 0.03 + chance


def test_a_thousand_classes_take_a_bounded_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    """A matrix of a million cells for each draw would take 8 GB; pieces give the same spread."""
    labels = np.arange(4000) % 1000
    predicted = noisy(labels, 0.7, seed=6, classes=1000)

    def drawn(numbers: int) -> Floats:
        monkeypatch.setattr(bootstrap, "_MOST_NUMBERS", numbers)
        source = np.random.default_rng(7)
        return drawn_f1_macro(labels, [predicted], classes=1000, generator=source, resamples=200)

    whole = drawn(2**20)
    tracemalloc.start()
    pieces = drawn(2**16)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()

    assert peak < 30e6
    assert pieces.mean() == pytest.approx(whole.mean(), abs=0.002)
    assert pieces.std() == pytest.approx(whole.std(), rel=0.3)
