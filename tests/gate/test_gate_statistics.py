"""The gate's statistics equal worked and published values, and the definitions they shorten."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import optimize, stats

from models.evaluation.uncertainty.bootstrap import resampled_means
from models.gate.paired import (
    detectable_lead,
    holm,
    mcnemar_p,
    tango_interval,
    tango_z,
)

counts = st.integers(0, 40)


def test_exact_mcnemar_worked_by_hand() -> None:
    """1 against 7: 2 (1 + 8) / 256; 5 against 5 and 0 against 0: nothing to see."""
    assert mcnemar_p(7, 1) == pytest.approx(2 * (1 + 8) / 256)
    assert mcnemar_p(5, 5) == 1
    assert mcnemar_p(0, 0) == 1


@pytest.mark.parametrize("differing", range(1, 200, 7))
def test_equal_classifiers_are_called_better_at_most_once_in_forty(differing: int) -> None:
    """Summed over all outcomes of fair coin tosses, whatever the number of differing images."""
    wins = np.arange(differing + 1)
    better = [
        2 * win > differing and mcnemar_p(int(win), int(differing - win)) <= 0.05 for win in wins
    ]
    assert stats.binom.pmf(wins, differing, 0.5)[better].sum() <= 0.025


@given(counts, counts)
def test_mcnemar_knows_no_side(ahead: int, behind: int) -> None:
    assert mcnemar_p(ahead, behind) == mcnemar_p(behind, ahead)


def test_tango_interval_equals_the_published_one() -> None:
    """1 against 7 of 21 gives -0.517 to -0.026 (Fagerland, Lydersen & Laake, 2014)."""
    found = tango_interval(1, 7, 21, significance=0.05)
    assert found == pytest.approx((-0.517, -0.026), abs=5e-4)


def test_tango_interval_reaches_the_end_where_all_speaks_for_one() -> None:
    """Five of five for one side: the difference may be 1, and is not 0."""
    low, high = tango_interval(5, 0, 5, significance=0.05)
    assert high == pytest.approx(1)
    assert 0 < low < 0.5


def test_tango_statistic_at_zero_is_mcnemars() -> None:
    assert tango_z(9, 4, 100, difference=0) == pytest.approx((9 - 4) / math.sqrt(9 + 4))


@given(st.integers(1, 30), st.integers(1, 30), st.integers(1, 200), st.floats(-0.6, 0.6))
def test_tango_variance_is_that_of_the_likeliest_shares(
    ahead: int, behind: int, rest: int, difference: float
) -> None:
    """The closed form finds the maximum of the likelihood that a search finds."""
    n = ahead + behind + rest

    def surprise(share: float) -> float:
        others = 1 - 2 * share - difference
        likely = ahead * math.log(share + difference) + behind * math.log(share)
        return -(likely + rest * math.log(others))

    low, high = max(0.0, -difference), (1 - difference) / 2
    inside = 1e-9 * (high - low)
    found = optimize.minimize_scalar(
        surprise, bounds=(low + inside, high - inside), method="bounded", options={"xatol": 1e-10}
    )
    variance = n * (2 * found.x + difference - difference**2)
    expected = (ahead - behind - n * difference) / math.sqrt(variance)
    assert tango_z(ahead, behind, n, difference=difference) == pytest.approx(expected, abs=1e-3)


@given(counts, counts, st.integers(0, 100))
def test_tango_interval_holds_the_difference_and_mirrors(
    ahead: int, behind: int, rest: int
) -> None:
    n = ahead + behind + rest + 1
    low, high = tango_interval(ahead, behind, n, significance=0.05)
    assert -1 <= low <= (ahead - behind) / n <= high <= 1
    mirrored = tango_interval(behind, ahead, n, significance=0.05)
    assert mirrored == pytest.approx((-high, -low), abs=1e-6)


def test_holm_worked_by_hand() -> None:
    """Thresholds 0.05 / 4, / 3, / 2: the third fails, so the fourth is not asked."""
    assert holm([0.01, 0.04, 0.30, 0.015], 0.05) == [0, 3]
    assert holm([0.02, 0.9], 0.05) == [0]
    assert holm([0.03, 0.03], 0.05) == []


def images_needed(lead: float, differing: float) -> int:
    """Images on which a true lead is detected with 80 % power at 5 % (Connor, 1987)."""
    root = 1.95996 * math.sqrt(differing) + 0.84162 * math.sqrt(differing - lead**2)
    return math.ceil((root / lead) ** 2)


@given(st.floats(0.002, 0.05), st.floats(0.06, 0.5))
def test_the_detectable_lead_is_the_one_that_connors_formula_needs_these_images_for(
    lead: float, differing: float
) -> None:
    """Of 1 point with 8 % differing, worked by hand: 6,277 images."""
    assert images_needed(0.01, 0.08) == 6277
    found = detectable_lead(images_needed(lead, differing), differing, significance=0.05)
    assert found == pytest.approx(lead, rel=0.02)


def test_resampled_means_spread_like_the_standard_error() -> None:
    values = np.random.default_rng(1).normal(size=400)
    draws = resampled_means(values, np.random.default_rng(2), resamples=4000)
    assert draws.mean() == pytest.approx(values.mean(), abs=0.004)
    assert draws.std() == pytest.approx(values.std() / 20, rel=0.05)
