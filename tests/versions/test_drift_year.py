"""A year of looks at drift: its levels, and what an alarm does to the next look."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from models.config import DriftParams
from models.monitoring.records import threshold_of

TESTS = 5


@given(significance=st.floats(0.001, 0.5), looks=st.integers(1, 800))
def test_the_levels_of_a_year_sum_to_the_significance(significance: float, looks: int) -> None:
    """They fall, none is 0, and after so many looks they are spent once more."""
    params = DriftParams(significance=significance, looks=looks)
    thresholds = [threshold_of(look, params) for look in range(1, looks + 1)]
    assert TESTS * sum(thresholds) <= significance * (1 + 1e-9)
    assert thresholds == sorted(thresholds, reverse=True)
    assert thresholds[-1] > 0
    assert threshold_of(looks + 1, params) == thresholds[0]


@pytest.mark.parametrize(("images", "looks"), [(200, 365), (10_000, 52)])
def test_a_year_of_unchanged_images_seldom_alarms(images: int, looks: int) -> None:
    """5 % of years at most with one reference of 1,000 images; at a fresh 1 % a test 20 % and more.

    As in bench/drift_year.py, but of each test only the mean of what it compares.
    """
    years, source, params = 2000, np.random.default_rng(images), DriftParams()
    reference = source.normal(0, 1000**-0.5, (years, TESTS))
    alarms, fresh = np.zeros(years, bool), np.zeros(years, bool)
    for look in range(1, looks + 1):
        apart = np.abs(source.normal(0, images**-0.5, (years, TESTS)) - reference)
        p_values = 2 * stats.norm.sf(apart / (1 / 1000 + 1 / images) ** 0.5)
        alarms |= (p_values <= threshold_of(look, params)).any(axis=1)
        fresh |= (p_values <= 0.01).any(axis=1)
    assert alarms.mean() <= 0.05
    assert fresh.mean() >= 0.2


def test_a_false_alarm_makes_the_next_no_likelier() -> None:
    """Against a small reference most of the next 10,000 unchanged images would alarm as well.

    Joined by the images of the alarm, as after a retraining that came to nothing, it is as good as
    new: whether it was an alarm depends on their difference, which the joint mean is free of.
    """
    source, small, many, level = np.random.default_rng(0), 360, 10_000, 0.01
    reference = source.normal(0, small**-0.5, 400_000)
    one, two = source.normal(0, many**-0.5, (2, 400_000))

    def alarm(images: np.ndarray, known: np.ndarray, count: int) -> np.ndarray:
        apart = np.abs(images - known) / (1 / count + 1 / many) ** 0.5
        return np.asarray(2 * stats.norm.sf(apart) <= level)

    first = alarm(one, reference, small)
    joined = (small * reference + many * one) / (small + many)
    assert alarm(two, reference, small)[first].mean() > 0.6
    assert alarm(two, joined, small + many)[first].mean() == pytest.approx(level, abs=0.006)
