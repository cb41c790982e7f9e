"""What goes and what stays: by policy, and never what somebody needs."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.config import RetentionParams
from models.retention import RankedTrial, Stored, gone, judge_by_age, judge_trials

NEEDED = "version 1 of digits-classifier"


def stored(name: str = "a", *, days: float = 0, size: int = 1, needed: bool = False) -> Stored:
    return Stored(name, days=days, bytes=size, needed_by=NEEDED if needed else None)


ages = st.floats(0, 400, allow_nan=False)


@st.composite
def stores(draw: st.DrawFn) -> list[RankedTrial]:
    """Trials, some without a result; ranks are places among those that have one."""
    count = draw(st.integers(0, 12))
    finished = draw(st.lists(st.booleans(), min_size=count, max_size=count))
    ranks = iter(draw(st.permutations(range(sum(finished)))))
    return [
        RankedTrial(
            stored(
                str(number),
                days=draw(ages),
                size=draw(st.integers(0, 100)),
                needed=draw(st.booleans()),
            ),
            next(ranks) if has_result else None,
        )
        for number, has_result in enumerate(finished)
    ]


policies = st.builds(
    RetentionParams,
    trials_days=st.none() | st.floats(0.1, 300, allow_nan=False),
    trials_bytes=st.none() | st.integers(0, 600),
    keep_best=st.integers(0, 6),
)


@given(stores(), policies)
def test_what_is_needed_or_among_the_best_never_goes(
    trials: list[RankedTrial], policy: RetentionParams
) -> None:
    """Whatever age and size the policy asks for; every trial gets an answer, in order."""
    judged = judge_trials(trials, policy)

    assert [one.stored for one in judged] == [trial.stored for trial in trials]
    for trial, one in zip(trials, judged, strict=True):
        best = trial.rank is not None and trial.rank < policy.keep_best
        assert not (one.goes and (best or trial.stored.needed_by))


@given(stores(), policies)
def test_what_stays_fits_the_policy(trials: list[RankedTrial], policy: RetentionParams) -> None:
    """Nothing that may go is too old; the store is small enough, or nothing in it may go."""
    judged = judge_trials(trials, policy)
    staying = [(trial, one) for trial, one in zip(trials, judged, strict=True) if not one.goes]
    free = [
        trial.stored
        for trial, _ in staying
        if trial.stored.needed_by is None and (trial.rank is None or trial.rank >= policy.keep_best)
    ]

    if policy.trials_days is not None:
        assert all(one.days <= policy.trials_days for one in free)
    if policy.trials_bytes is not None:
        assert not free or sum(one.stored.bytes for _, one in staying) <= policy.trials_bytes
    if policy.trials_days is None and policy.trials_bytes is None:
        assert list(gone(judged)) == []


@given(stores(), policies)
def test_for_want_of_room_nothing_goes_before_what_is_worth_less(
    trials: list[RankedTrial], policy: RetentionParams
) -> None:
    """A result never goes for its size while one without, or a worse one, stays that may go."""
    judged = judge_trials(trials, policy)
    by_size = [
        trial.rank
        for trial, one in zip(trials, judged, strict=True)
        if one.goes and "trials_bytes" in one.why and trial.rank is not None
    ]
    staying = [
        trial.rank
        for trial, one in zip(trials, judged, strict=True)
        if not one.goes and one.stored.needed_by is None
        if trial.rank is None or trial.rank >= policy.keep_best
    ]

    if by_size:
        assert None not in staying
        assert all(rank < min(by_size) for rank in staying if rank is not None)


@given(st.lists(ages), st.none() | st.floats(0.1, 300, allow_nan=False))
def test_by_age_the_older_go_and_nothing_that_is_needed(
    days: list[float], limit: float | None
) -> None:
    """null keeps for ever."""
    free = judge_by_age([stored(days=age) for age in days], limit)
    needed = judge_by_age([stored(days=age, needed=True) for age in days], limit)

    assert [one.goes for one in free] == [limit is not None and age > limit for age in days]
    assert not any(one.goes for one in needed)


def test_each_answer_says_why() -> None:
    """Golden: four trials, the third too old, the fourth too many bytes."""
    policy = RetentionParams(trials_days=30, trials_bytes=25, keep_best=1)
    trials = [
        RankedTrial(stored("best", days=99, size=10), 0),
        RankedTrial(stored("served", days=99, size=10, needed=True), 3),
        RankedTrial(stored("old", days=31, size=10), 1),
        RankedTrial(stored("large", days=1, size=10), 2),
    ]

    assert [one.why for one in judge_trials(trials, policy)] == [
        "among the best 1 of its dataset",
        f"needed by {NEEDED}",
        "older than 30 days",
        "the store exceeds trials_bytes",
    ]


def test_the_defaults_keep_three_months_of_trials() -> None:
    """A project that is never told otherwise loses nothing younger."""
    policy = RetentionParams()
    trials = [RankedTrial(stored(days=89, size=10**12), None)]

    assert list(gone(judge_trials(trials, policy))) == []
    with pytest.raises(ValueError, match="greater than 0"):
        RetentionParams(trials_days=0)
