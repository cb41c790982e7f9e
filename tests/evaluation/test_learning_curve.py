"""What more images are worth: by hand, with its interval, and only where it can be known."""

import numpy as np
import pytest

from flows.retraining.data_worth import DataWorth
from models.decision import NewData
from models.evaluation.data_value.learning_curve import learning_curve
from models.evaluation.records import Interval, LearningCurve

NEW = NewData(images=240, before=1797)


def test_a_power_law_by_hand() -> None:
    """Errors of n ** -0.5: 0.025 at 1,600 images, half of that at 6,400."""
    found = learning_curve([100, 400, 1600], [0.1, 0.05, 0.025], before=1600, now=6400)
    assert found is not None
    assert found.gain == pytest.approx(0.0125)
    assert (found.interval.low, found.interval.high) == pytest.approx((0.0125, 0.0125))
    assert (found.sizes, found.trials) == (3, 3)


@pytest.mark.parametrize(
    ("sizes", "before", "now"), [([100, 400, 400], 400, 800), ([100, 200, 400], 400, 400)]
)
def test_two_sizes_or_no_new_images_say_nothing(sizes: list[int], before: int, now: int) -> None:
    """Any two points lie on a power law."""
    assert learning_curve(sizes, [0.3, 0.2, 0.1], before=before, now=now) is None


def test_the_interval_holds_the_gain_at_least_as_often_as_it_says() -> None:
    """Of 400 noisy curves of two trials on each of four sizes, 95 % and more."""
    source, sizes = np.random.default_rng(0), np.repeat([250, 500, 1000, 2000], 2)
    truth, inside = 2000**-0.4 - 4000**-0.4, 0
    for _ in range(400):
        errors = sizes**-0.4 * np.exp(source.normal(0, 0.05, len(sizes)))
        found = learning_curve(sizes.tolist(), errors.tolist(), before=2000, now=4000)
        assert found is not None
        inside += found.interval.low <= truth <= found.interval.high
    assert inside / 400 >= 0.95


@pytest.mark.parametrize(
    ("low", "high", "detectable", "words"),
    [
        (0.001, 0.004, 0.005, "less than the test split can show"),
        (0.006, 0.009, 0.005, "enough for the test split to show it"),
        (0.001, 0.009, 0.005, "whether the test split can show it is open"),
        (0.001, 0.004, None, "points [0.1, 0.4]"),
    ],
)
def test_the_gain_is_weighed_against_what_can_be_shown(
    low: float, high: float, detectable: float | None, words: str
) -> None:
    """By the whole interval."""
    interval = Interval(low=low, high=high)
    curve = LearningCurve(sizes=3, trials=6, gain=(low + high) / 2, interval=interval)
    sentence = DataWorth(new=NEW, curve=curve, detectable=detectable).sentence
    assert sentence.startswith("240 new images beside 1,797; by the learning curve of 6 trials")
    assert sentence.endswith(words)


def test_what_is_not_measured_is_called_so() -> None:
    """With what it would take."""
    sentence = DataWorth(new=NEW, curve=None, detectable=0.01).sentence
    assert "unmeasured" in sentence
    assert "three sizes" in sentence
