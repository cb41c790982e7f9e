"""The median rule and Hyperband: decisions worked by hand, and what holds of every pruner."""

import random
from collections import Counter
from itertools import islice
from statistics import fmean
from typing import Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.config import SearchParams, TrialConfig
from models.search.hyperband import bracket_sequence, bracket_sizes
from models.search.proposals import Proposal
from models.search.strategies import expected_epochs, pruned_strategy
from models.search.strategy import FixedProposer, Job, Strategy
from models.trials import Scores

Told = tuple[Job, Scores | None]


def searching(pruner: str, **fields: object) -> SearchParams:
    return SearchParams.model_validate({"pruner": pruner, **fields})


def strategy(trials: int, search: SearchParams) -> Strategy:
    proposals = [Proposal(TrialConfig(seed=n), {"seed": n}) for n in range(trials)]
    return pruned_strategy(FixedProposer(proposals), search, by="accuracy")


def scored(accuracy: float) -> Scores:
    return Scores(accuracy=accuracy, f1_macro=accuracy, cross_entropy=1 - accuracy)


def one_by_one(strategy: Strategy, quality: list[float | None]) -> list[tuple[int, int]]:
    """Jobs of one worker, where each trial scores alike at every rung; None: it fails."""
    asked = []
    while job := strategy.ask():
        asked.append((job.number, job.budget))
        accuracy = quality[job.number]
        strategy.tell(job, None if accuracy is None else scored(accuracy))
    return asked


def test_the_median_rule_worked_by_hand() -> None:
    """Rungs 1, 2, 4; the first two at a rung go on whatever they are."""
    search = searching("median", epochs=4, reduction_factor=2, min_trials=2)

    asked = one_by_one(strategy(5, search), [0.6, 0.5, 0.4, 0.5, 0.9])

    assert asked == [
        *((0, 1), (0, 2), (0, 4)),
        *((1, 1), (1, 2), (1, 4)),
        (2, 1),  # 0.4 is below 0.55, the median of 0.6 and 0.5
        *((3, 1), (3, 2)),  # 0.5 is the median of 0.6 0.5 0.4; at the second rung below 0.55
        *((4, 1), (4, 2), (4, 4)),
    ]


def test_failed_trials_are_no_yardstick() -> None:
    """Two failed, and nobody is stopped by comparison with them, nor counts them as having come."""
    search = searching("median", epochs=2, reduction_factor=2, min_trials=1)

    asked = one_by_one(strategy(5, search), [None, None, 0.5, 0.4, 0.6])

    assert asked == [(0, 1), (1, 1), (2, 1), (2, 2), (3, 1), (4, 1), (4, 2)]


def test_when_all_that_passed_fail_later_a_stopped_trial_goes_on() -> None:
    """A median search never ends without a trial of the whole budget, if one can be had."""
    search = searching("median", epochs=2, reduction_factor=2, min_trials=1)
    halving = strategy(2, search)
    jobs = []
    while job := halving.ask():
        jobs.append((job.number, job.budget))
        fails = jobs[-1] == (0, 2)
        halving.tell(job, None if fails else scored(0.5 - 0.1 * job.number))

    assert jobs == [(0, 1), (0, 2), (1, 1), (1, 2)]


def epoch_by_epoch(strategy: Strategy, curves: list[list[int]]) -> list[tuple[int, int]]:
    """Jobs of one worker; a curve has the accuracy of each epoch, in sixteenths."""
    asked = []
    while job := strategy.ask():
        asked.append((job.number, job.budget))
        seen = [sixteenths / 16 for sixteenths in curves[job.number][: job.budget]]
        strategy.tell(job, scored(max(seen)), scored(fmean(seen)))
    return asked


def test_the_median_is_of_running_averages_worked_by_hand() -> None:
    """Rungs 1, 2, 4; the best so far is held against what earlier trials had on average."""
    search = searching("median", epochs=4, reduction_factor=2, min_trials=2)
    curves = [
        [4, 8, 12, 16],  # averages 4, 6, 10
        [8, 12, 12, 12],  # averages 8, 10, 11
        [6, 8, 8, 8],  # 6 of 6 and 8 of 8 go on: only strictly worse ones stop; averages 6, 7
        [6, 6],  # 6 of 6; then 6 is below 7, the median of 6 10 7
        [5],  # below 6, the median of 4 8 6 6
        [7, 2, 2, 2],  # 7 beats 6; then the best so far counts, 7, against 6.5, of 6 10 7 6
    ]

    asked = epoch_by_epoch(strategy(6, search), curves)

    assert asked == [
        *((0, 1), (0, 2), (0, 4)),
        *((1, 1), (1, 2), (1, 4)),
        *((2, 1), (2, 2), (2, 4)),  # a median of bests, 10 of 8 12, would stop it
        *((3, 1), (3, 2)),
        (4, 1),
        *((5, 1), (5, 2), (5, 4)),
    ]


@pytest.mark.parametrize(
    ("factor", "epochs", "sizes"),
    [
        *((factor, 1, (1,)) for factor in (2, 3, 4)),
        (2, 3, (2, 2)),
        (2, 9, (8, 6, 4, 4)),  # 4/4 x 8, 4/3 x 4, 4/2 x 2, 4/1 x 1
        (2, 10, (8, 6, 4, 4)),
        (2, 27, (16, 10, 7, 5, 5)),  # 5/4 x 8 = 10, 5/3 x 4 = 6.7, 5/2 x 2
        (2, 81, (64, 38, 23, 14, 10, 7, 7)),  # 7/6 x 32 = 37.3, 7/5 x 16 = 22.4, 7/3 x 4 = 9.3
        (3, 3, (3, 2)),
        (3, 9, (9, 5, 3)),  # 3/3 x 9, 3/2 x 3 = 4.5, 3/1 x 1
        (3, 10, (9, 5, 3)),
        (3, 27, (27, 12, 6, 4)),
        (3, 81, (81, 34, 15, 8, 5)),  # table 1, Li et al., 2018
        (4, 3, (1,)),
        (4, 9, (4, 2)),
        (4, 10, (4, 2)),
        (4, 27, (16, 6, 3)),
        (4, 81, (64, 22, 8, 4)),  # 4/3 x 16 = 21.3
    ],
)
def test_sizes_of_brackets_worked_by_hand(factor: int, epochs: int, sizes: tuple[int, ...]) -> None:
    """As many brackets as rungs, floor(log epochs) + 1, to the base factor, and no sliver's."""
    search = searching("hyperband", epochs=epochs, reduction_factor=factor)

    assert bracket_sizes(search) == sizes
    assert len(sizes) == len(search.rungs)


def test_trials_are_spread_over_brackets_worked_by_hand() -> None:
    """Of 17 trials 9, 5 and 3, mixed all along, and then over again."""
    turns = list(islice(bracket_sequence(searching("hyperband", epochs=9)), 34))

    assert turns[:17] == [0, 1, 0, 0, 2, 1, 0, 0, 1, 0, 2, 0, 1, 0, 0, 1, 2]
    assert turns[17:] == turns[:17]


def test_hyperband_worked_by_hand() -> None:
    """Brackets 0 1 0 0 2 1: the first halves at one epoch, the second at three, the third never."""
    search = searching("hyperband", epochs=9)

    asked = one_by_one(strategy(6, search), [0.1, 0.2, 0.3, 0.2, 0.1, 0.3])

    assert asked == [
        (0, 1),
        *((1, 1), (1, 3)),  # spared the lowest rung; one of one is no third
        *((2, 1), (3, 1)),
        (2, 3),  # the best of three in the first bracket
        *((4, 1), (4, 3), (4, 9)),  # spared all rungs
        *((5, 1), (5, 3)),
    ]


@pytest.mark.parametrize(
    ("search", "trials", "epochs"),
    [
        (searching("median", epochs=4, reduction_factor=2, min_trials=2), 6, 6 + 4 + 3 * 2),
        (searching("hyperband", epochs=9), 17, (9 + 6 + 6) + (5 + 10 + 6) + 3 * 9),
        (searching("hyperband", epochs=9), 0, 0),
        (searching("median", epochs=9), 1, 9),
        (searching("none", epochs=9), 3, 27),
        (searching("none", epochs=9, max_epochs_total=20), 3, 20),
    ],
)
def test_expected_epochs_worked_by_hand(search: SearchParams, trials: int, epochs: int) -> None:
    """What the time left is guessed from."""
    assert expected_epochs(search, trials) == epochs


class Learner(FixedProposer):
    """Notes what it is told."""

    def __init__(self, trials: int) -> None:
        super().__init__([Proposal(TrialConfig(seed=n), {"seed": n}) for n in range(trials)])
        self.learned: list[int] = []
        """Numbers of trials, at the lowest budget."""
        self.budgets: set[tuple[int, int]] = set()

    def learn(self, number: int, scores: Scores | None, *, budget: int) -> None:
        del scores
        if number not in self.learned:
            self.learned.append(number)
        assert (number, budget) not in self.budgets
        self.budgets.add((number, budget))


@given(
    pruner=st.sampled_from(["asha", "median", "hyperband"]),
    trials=st.integers(1, 40),
    workers=st.integers(1, 6),
    reduction=st.integers(2, 4),
    epochs=st.integers(1, 30),
    failing=st.sampled_from([0.0, 0.3, 1.0]),
    seed=st.integers(0, 10**6),
)
def test_in_whatever_order_trials_end_or_fail(
    *,
    pruner: Literal["asha", "median", "hyperband"],
    trials: int,
    workers: int,
    reduction: int,
    epochs: int,
    failing: float,
    seed: int,
) -> None:
    """It ends; each job once, rungs in their order, all begun and learned of; one has it all."""
    search = searching(pruner, epochs=epochs, reduction_factor=reduction)
    proposer, order = Learner(trials), random.Random(seed)
    told = searched(pruned_strategy(proposer, search, by="accuracy"), order, workers, failing)

    jobs = [(job.number, job.budget) for job, _ in told]
    assert len(jobs) == len(set(jobs))
    for number in range(trials):
        budgets = sorted(budget for one, budget in jobs if one == number)
        assert tuple(budgets) == search.rungs[: len(budgets)] != ()
    assert sorted(proposer.learned) == list(range(trials))
    assert {job.budget for job, _ in told} <= set(search.rungs)
    whole = [scores for job, scores in told if job.budget == epochs and scores]
    assert whole or not survivors(told)


def searched(strategy: Strategy, order: random.Random, workers: int, failing: float) -> list[Told]:
    """Jobs in the order they ended, by workers of any speed, and what they came to."""
    running, told = list[Job](), list[Told]()
    while True:
        while len(running) < workers and (job := strategy.ask()):
            running.append(job)
        if not running:
            return told
        job = running.pop(order.randrange(len(running)))
        scores = None if order.random() < failing else scored(order.random())
        told.append((job, scores))
        strategy.tell(job, scores)


def survivors(told: list[Told]) -> set[int]:
    """Trials that never failed."""
    return {job.number for job, _ in told} - {job.number for job, scores in told if not scores}


@given(
    st.lists(st.lists(st.integers(0, 16), min_size=6, max_size=6), min_size=1, max_size=20),
    st.integers(1, 4),
    st.integers(1, 6),
)
def test_the_median_rule_never_stops_the_best_so_far(
    curves: list[list[int]], min_trials: int, epochs: int
) -> None:
    """Whoever is at least as good as all before it at every rung has the whole budget."""
    search = searching("median", epochs=epochs, reduction_factor=2, min_trials=min_trials)

    asked = epoch_by_epoch(strategy(len(curves), search), curves)

    for number, curve in enumerate(curves):
        before = curves[: number + 1]
        if all(max(curve[:r]) >= max(max(one[:r]) for one in before) for r in search.rungs):
            assert (number, epochs) in asked


@given(st.integers(1, 100), st.integers(2, 5), st.integers(0, 200))
def test_brackets_get_their_shares(epochs: int, reduction: int, trials: int) -> None:
    """After any number of trials no bracket is a whole trial short of its share."""
    search = searching("hyperband", epochs=epochs, reduction_factor=reduction)
    sizes = bracket_sizes(search)
    begun = Counter(islice(bracket_sequence(search), trials))

    for bracket, size in enumerate(sizes):
        assert begun[bracket] >= trials * size // sum(sizes)
