"""Successive halving: decisions worked by hand, and what holds in whatever order trials end."""

import itertools
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.config import Params, SearchParams, TrialConfig
from models.search.asha import halving_epochs
from models.search.proposals import Proposal
from models.search.strategies import pruned_strategy, strategy_of
from models.search.strategy import FixedProposer, Job, Strategy
from models.trials import Scores


def searching(**fields: object) -> SearchParams:
    return SearchParams.model_validate({"pruner": "asha", **fields})


def asha(trials: int, **fields: object) -> Strategy:
    proposals = [Proposal(TrialConfig(seed=n), {"seed": n}) for n in range(trials)]
    return pruned_strategy(FixedProposer(proposals), searching(**fields), by="accuracy")


def scored(accuracy: float) -> Scores:
    return Scores(accuracy=accuracy, f1_macro=accuracy, cross_entropy=1 - accuracy)


def asked(strategy: Strategy) -> tuple[int, int] | None:
    """Number and budget of the next job."""
    job = strategy.ask()
    return (job.number, job.budget) if job else None


@pytest.mark.parametrize(
    ("factor", "epochs", "rungs"),
    [
        *((factor, 1, (1,)) for factor in (2, 3, 4)),
        (2, 3, (2, 3)),  # 1.5 upwards
        (2, 9, (1, 2, 5, 9)),  # 1.125, 2.25, 4.5
        (2, 10, (1, 3, 5, 10)),  # 1.25, 2.5
        (2, 27, (2, 3, 7, 14, 27)),  # 1.69, 3.375, 6.75, 13.5
        (2, 81, (1, 3, 5, 10, 20, 41, 81)),  # 1.27, 2.53, 5.06, 10.125, 20.25, 40.5
        (3, 3, (1, 3)),
        (3, 9, (1, 3, 9)),
        (3, 10, (1, 3, 10)),  # 1.11, 3.33
        (3, 27, (1, 3, 9, 27)),
        (3, 81, (1, 3, 9, 27, 81)),
        (4, 3, (3,)),  # 3 / 4 is less than an epoch
        (4, 9, (2, 9)),  # 2.25
        (4, 10, (3, 10)),  # 2.5
        (4, 27, (2, 7, 27)),  # 1.69, 6.75
        (4, 81, (1, 5, 20, 81)),  # 1.27, 5.06, 20.25
    ],
)
def test_rungs_worked_by_hand(factor: int, epochs: int, rungs: tuple[int, ...]) -> None:
    """Epochs divided by the factor as often as an epoch is left, and rounded."""
    assert searching(epochs=epochs, reduction_factor=factor).rungs == rungs


@pytest.mark.parametrize(
    ("least", "rungs"), [(1, (1, 2, 4, 8, 16)), (2, (2, 4, 8, 16)), (3, (4, 8, 16)), (16, (16,))]
)
def test_the_lowest_rung_has_the_least_epochs(least: int, rungs: tuple[int, ...]) -> None:
    """A rung of fewer is left out, and none is put in its place."""
    assert searching(epochs=16, min_epochs=least, reduction_factor=2).rungs == rungs


@given(st.integers(1, 100_000), st.integers(2, 100), st.data())
def test_rungs_are_about_the_factor_apart(epochs: int, factor: int, data: st.DataObject) -> None:
    """They rise to the whole budget; rounding moves no ratio by more than half of the factor."""
    least = data.draw(st.integers(1, epochs))
    rungs = searching(epochs=epochs, reduction_factor=factor, min_epochs=least).rungs

    assert rungs[-1] == epochs
    assert least <= rungs[0]
    assert epochs < least * factor ** len(rungs)  # one rung more would have fewer than the least
    for lower, upper in itertools.pairwise(rungs):
        assert lower < upper
        assert 0.75 * factor <= upper / lower <= 1.5 * factor


def test_expected_epochs_are_those_of_halving_in_step() -> None:
    """27 trials of 9 epochs: 27 x 1, then 9 x 2, then 3 x 6; exhaustively 243."""
    assert halving_epochs(searching(epochs=9), 27) == 27 + 18 + 18
    assert halving_epochs(searching(epochs=9), 1) == 9
    assert halving_epochs(searching(epochs=9), 0) == 0


def test_decisions_of_two_workers_worked_by_hand() -> None:
    """Reduction 2, rungs 1, 2, 4; four trials, of which 2 is best, then 0."""
    search = asha(4, epochs=4, reduction_factor=2)
    quality = {0: 0.6, 1: 0.5, 2: 0.9, 3: 0.1}
    told: dict[tuple[int, int], Job] = {}

    def ask() -> tuple[int, int] | None:
        job = search.ask()
        if job is None:
            return None
        told[job.number, job.budget] = job
        return job.number, job.budget

    def tell(number: int, budget: int) -> None:
        search.tell(told[number, budget], scored(quality[number]))

    assert (ask(), ask()) == ((0, 1), (1, 1))
    tell(0, 1)  # one of one: half of it is none
    assert ask() == (2, 1)
    tell(1, 1)  # 0.6 0.5: the better half is trial 0
    assert ask() == (0, 2)
    tell(2, 1)  # 0.9 0.6 0.5: half of three is one, trial 2
    assert ask() == (2, 2)
    tell(0, 2)  # one at the second rung
    assert ask() == (3, 1)
    tell(2, 2)  # 0.9 0.6: trial 2 goes on to the end
    assert ask() == (2, 4)
    tell(3, 1)  # 0.9 0.6 0.5 0.1: 2 and 0 went on before
    assert ask() is None
    tell(2, 4)
    assert ask() is None


def test_few_trials_are_not_all_stopped() -> None:
    """Two trials, a third of which is none: the better one goes on alone, to the end."""
    search = asha(2, epochs=9)
    first, second = search.ask(), search.ask()
    assert first
    assert second
    search.tell(first, scored(0.3))
    assert search.ask() is None  # the other may be better
    search.tell(second, scored(0.4))

    job = search.ask()
    assert job
    assert (job.number, job.budget) == (1, 3)
    search.tell(job, None)  # it fails: the other has its turn
    assert asked(search) == (0, 3)


def test_when_all_fail_the_search_ends() -> None:
    """There is nobody to promote."""
    search = asha(3, epochs=9, reduction_factor=2)
    while job := search.ask():
        assert job.budget == 1
        search.tell(job, None)


def test_a_tie_goes_to_the_earlier_trial() -> None:
    """Luck decides nothing."""
    search = asha(2, epochs=2, reduction_factor=2)
    first, second = search.ask(), search.ask()
    assert first
    assert second
    search.tell(second, scored(0.5))
    search.tell(first, scored(0.5))

    assert asked(search) == (0, 2)


@given(
    trials=st.integers(1, 40),
    workers=st.integers(1, 6),
    reduction=st.integers(2, 4),
    epochs=st.integers(1, 30),
    seed=st.integers(0, 10**6),
)
def test_in_whatever_order_trials_end(
    *, trials: int, workers: int, reduction: int, epochs: int, seed: int
) -> None:
    """Each job once, rungs in their order, every trial begun, the best one to the end."""
    search = asha(trials, epochs=epochs, reduction_factor=reduction)
    order = random.Random(seed)
    quality = {number: order.random() for number in range(trials)}
    rungs = searching(epochs=epochs, reduction_factor=reduction).rungs
    running: list[Job] = []
    seen: list[tuple[int, int]] = []
    while True:
        while len(running) < workers and (job := search.ask()):
            running.append(job)
            seen.append((job.number, job.budget))
        if not running:
            break
        job = running.pop(order.randrange(len(running)))
        search.tell(job, scored(quality[job.number]))

    assert len(seen) == len(set(seen))
    assert {number for number, budget in seen if budget == rungs[0]} == set(range(trials))
    for number in range(trials):
        budgets = [budget for one, budget in seen if one == number]
        assert budgets == list(rungs[: len(budgets)])
    assert (max(quality, key=lambda n: quality[n]), epochs) in seen


def test_a_search_of_params_is_halved_where_they_say_so() -> None:
    """The grid's trials in their order; straight to the end without a pruner."""
    axes = {"seed": [0, 1, 2]}
    halved = strategy_of(Params(search=searching(axes=axes, epochs=4)))
    straight = strategy_of(Params(search=SearchParams.model_validate({"axes": axes, "epochs": 4})))

    first, whole = halved.ask(), straight.ask()

    assert first
    assert whole
    assert (first.budget, first.rung) == (1, 0)
    assert (whole.budget, whole.rung) == (4, None)
