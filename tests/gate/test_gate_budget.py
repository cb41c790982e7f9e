"""The gate's budget: levels sum to the significance, looks are counted, a year of luck is held."""

import numpy as np
import pytest
from gate_fixtures import QUICK, pair
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from models.config import GateParams
from models.gate.budget import Look, level_of, looks_taken
from models.gate.verdict import decide

OLD, NEW = "a" * 64, "b" * 64


@given(looks=st.integers(1, 3000), significance=st.floats(0.001, 0.5))
def test_levels_fall_and_their_sum_is_the_significance_at_most(
    looks: int, significance: float
) -> None:
    """After the last look there is nothing left."""
    gate = GateParams(looks=looks, significance=significance)

    levels = [level_of(look, gate) for look in range(1, looks + 1)]

    assert sum(levels) <= significance
    assert sum(levels) > 0.74 * significance
    assert levels == sorted(levels, reverse=True)
    assert level_of(looks + 1, gate) == 0


def test_levels_worked_by_hand() -> None:
    """0.05 * (1/2 + 1/365) / 2, then 0.05 * (1/6 + 1/365) / 2."""
    gate = GateParams()

    assert level_of(1, gate) == pytest.approx(0.01257, abs=1e-5)
    assert level_of(2, gate) == pytest.approx(0.00424, abs=1e-5)
    assert level_of(365, gate) == pytest.approx(0.0000687, abs=1e-7)


def look(
    challenger: int, champion: int = 1, *, digest: str | None = OLD, images: int = 100
) -> Look:
    """A look at some split."""
    return Look(test_digest=digest, images=images, challenger=challenger, champion=champion)


def test_each_pair_is_a_look_and_only_once() -> None:
    """Judging a version again on the same images shows nothing new."""
    taken = [look(2), look(3), look(3), look(3, 2)]

    assert looks_taken(taken, test_digest=OLD, images=100) == 3
    assert looks_taken([], test_digest=OLD, images=100) == 0


def test_new_images_give_looks_back_in_proportion() -> None:
    """Of 400 images 100 are old: 8 looks at these count as 2; a later look counts in full."""
    taken = [look(number) for number in range(2, 10)]

    assert looks_taken(taken, test_digest=NEW, images=400) == 2
    after = [*taken, look(10, digest=NEW, images=400)]
    assert looks_taken(after, test_digest=NEW, images=400) == 3


def test_looks_from_before_they_were_counted_count_in_full() -> None:
    """Their images are not known, so that they may have been today's."""
    taken = [look(2, digest=None), look(3, digest=None)]

    assert looks_taken(taken, test_digest=NEW, images=100) == 2


def test_what_is_enough_at_the_first_look_is_not_at_the_tenth() -> None:
    """16 against 4: p = 0.012, allowed 0.025 at look 1 and 0.0006 at look 10."""
    versions = pair(both=380, challenger_only=16, champion_only=4, neither=0)

    first, tenth = decide(*versions, QUICK), decide(*versions, QUICK, looks=9)

    assert (first.verdict, first.look) == ("PROMOTE", 1)
    assert (tenth.verdict, tenth.look) == ("HOLD", 10)
    assert "at look 10 of 365" in " ".join(tenth.reasons)
    assert first.test_digest == versions[0].test_digest


def test_a_split_that_is_used_up_says_what_helps() -> None:
    """However large the lead, there is no level left; the message names the way out."""
    versions = pair(both=300, challenger_only=100, champion_only=0, neither=0)

    decision = decide(*versions, QUICK.model_copy(update={"looks": 3}), looks=3)

    assert decision.verdict == "HOLD"
    assert "pitchpipe data add" in " ".join(decision.reasons)


@pytest.mark.parametrize("images", [360, 1000, 10_000])
def test_a_year_of_equals_seldom_promotes_one(images: int) -> None:
    """365 challengers as good as the champion, 6 % differing, on one split: 5 % of years at most.

    Half of 400 years would be false at a fresh 5 % each time. Each year is drawn as in
    bench/trust.py: the champion's luck on the split is shared by all looks.
    """
    years, share, gate = 400, 0.03, GateParams()
    source = np.random.default_rng(images)
    right = source.binomial(images, 0.92, years)
    false = np.zeros(years, bool)
    for number in range(1, gate.looks + 1):
        behind = source.binomial(right, share / 0.92)
        ahead = source.binomial(images - right, share / 0.08)
        tail = stats.binom.sf(ahead - 1, ahead + behind, 0.5)
        false |= (tail <= level_of(number, gate)) & (ahead - behind >= gate.minimum_effect * images)

    assert false.mean() <= 0.05
