"""TPE and Gaussian processes: learned from what is known, the same whoever trains and dies."""

import math
import random
import statistics
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from project_folder import REPOSITORY

from flows.records.search_journal import JournaledStrategy
from models.config import Params, SearchParams, TrialConfig, load_params
from models.errors import ConfigError
from models.search.optuna_samplers import ATTEMPTS, STARTUP_TRIALS
from models.search.proposals import Proposal
from models.search.search_space import random_proposals, search_space
from models.search.strategies import proposer_of, strategy_of
from models.search.strategy import Job, Strategy
from models.trials import Scores

AXES: dict[str, object] = {
    "optimizer.learning_rate": {"low": 1e-4, "high": 0.1, "log": True},
    "minibatch_size": [16, 32, 64],
}


def learning(axes: Mapping[str, object] = AXES, **fields: object) -> Params:
    search = {"strategy": "tpe", "axes": axes, "trials": 14, **fields}
    return Params(search=SearchParams.model_validate(search))


def scores_of(config: TrialConfig) -> Scores:
    """Best at a learning rate of 0.003 and the smallest minibatch."""
    away = abs(math.log10(config.optimizer.learning_rate / 0.003)) + config.minibatch_size / 100
    accuracy = 1 - away / 10
    return Scores(accuracy=accuracy, f1_macro=accuracy, cross_entropy=away)


def run(
    strategy: Strategy, *, workers: int = 2, seed: int = 0, steps: int = 10**6
) -> list[Proposal]:
    """Search with workers that end in any order, to the end or to a kill after steps."""
    order, running = random.Random(seed), list[Job]()
    begun: dict[int, Proposal] = {}
    for _ in range(steps):
        while len(running) < workers and (job := strategy.ask()):
            running.append(job)
            begun[job.number] = job.proposal
        if not running:
            break
        job = running.pop(order.randrange(len(running)))
        strategy.tell(job, scores_of(job.proposal.config))
    return [begun[number] for number in sorted(begun)]


@settings(deadline=None, max_examples=8)  # each asks Optuna a dozen times
@given(workers=st.integers(1, 6), seed=st.integers(0, 99), ahead=st.integers(1, 5))
def test_trials_do_not_depend_on_workers_nor_on_who_was_faster(
    workers: int, seed: int, ahead: int
) -> None:
    """One worker that ends in order, or several that end in any: the same trials."""
    params = learning(ahead=ahead)

    assert run(strategy_of(params), workers=workers, seed=seed) == run(
        strategy_of(params), workers=1
    )


def test_fifteen_trials_are_the_first_twelve_and_three_more() -> None:
    """A search that is raised, or killed and asked again, goes on as if nothing had been."""
    few, many = learning(trials=12), learning(trials=15)

    assert run(strategy_of(few)) == run(strategy_of(many))[:12]
    assert len(run(strategy_of(many))) == 15


def test_the_first_trials_are_those_of_a_random_search() -> None:
    """What a random search with the same seed trained is not trained again."""
    proposals = run(strategy_of(learning()))

    assert proposals[:STARTUP_TRIALS] == list(random_proposals(learning()))[:STARTUP_TRIALS]
    assert proposals[STARTUP_TRIALS:] != list(random_proposals(learning()))[STARTUP_TRIALS:]


@pytest.mark.parametrize("objective", ["accuracy", "cross_entropy"])
def test_later_trials_are_better_than_even_draws(objective: str) -> None:
    """Learned trials lie nearer to the best point, whichever way the objective counts."""
    base = learning(trials=30)
    trial = TrialConfig.model_validate({"objective": objective})
    params = base.model_copy(update={"trial": trial})

    learned = mean_loss(run(strategy_of(params))[STARTUP_TRIALS:])
    even = mean_loss(list(random_proposals(params))[STARTUP_TRIALS:])

    assert learned < 0.75 * even


def mean_loss(proposals: list[Proposal]) -> float:
    return sum(scores_of(one.config).cross_entropy for one in proposals) / len(proposals)


@pytest.mark.parametrize("strategy", ["tpe", "gp"])
def test_a_space_smaller_than_what_is_asked_for_is_searched_whole_and_once(strategy: str) -> None:
    """Twelve points, twenty trials asked for: twelve, then the search ends."""
    axes = {"minibatch_size": [8, 16, 32, 64], "optimizer.learning_rate": [0.001, 0.01, 0.1]}
    params = learning(axes, strategy=strategy, trials=20)

    proposals = run(strategy_of(params))

    assert len(proposals) == len(search_space(params)) == 12
    assert len({proposal.config for proposal in proposals}) == 12


def test_a_gaussian_process_goes_where_it_is_best() -> None:
    """After ten even draws it finds a better point at once; repeated, the same one."""
    params = learning(strategy="gp", trials=12, ahead=1)

    proposals = run(strategy_of(params), workers=1)

    even = min(scores_of(one.config).cross_entropy for one in proposals[:STARTUP_TRIALS])
    assert min(scores_of(one.config).cross_entropy for one in proposals[STARTUP_TRIALS:]) < even
    assert run(strategy_of(params), workers=2, seed=1) == proposals


def test_an_axis_that_a_kind_lacks_is_not_chosen_there() -> None:
    """Adam has no momentum; every trial of SGD has one within its range."""
    axes = {
        "optimizer.momentum": {"low": 0.1, "high": 0.9},
        "optimizer.name": ["sgd", "adam"],
        "network.channels": [[4, 4], [8, 8]],
    }
    proposals = run(strategy_of(learning(axes, trials=16)))

    assert len(proposals) == 16
    for proposal in proposals:
        assert ("optimizer.momentum" in proposal.point) == (proposal.config.optimizer.name == "sgd")
        assert list(proposal.point) == [axis for axis in axes if axis in proposal.point]
        assert 0.1 <= getattr(proposal.config.optimizer, "momentum", 0.5) <= 0.9


@pytest.mark.parametrize(
    ("axis", "allowed"),
    [
        ({"low": 16, "high": 70, "step": 16}, {16, 32, 48, 64}),
        ({"low": 1, "high": 3}, {1, 2, 3}),
        ({"low": 1, "high": 4, "log": True}, {1, 2, 3, 4}),
    ],
)
def test_values_of_whole_ranges_are_theirs(axis: object, allowed: set[int]) -> None:
    """Steps that do not end at the high end, and ends themselves."""
    proposals = run(strategy_of(learning({"minibatch_size": axis, "seed": {"low": 0, "high": 99}})))

    assert {proposal.config.minibatch_size for proposal in proposals} <= allowed
    assert all(isinstance(proposal.point["minibatch_size"], int) for proposal in proposals)


def test_values_of_stepped_numbers_can_be_read() -> None:
    """0.3 and not 0.30000000000000004, sampled ones too."""
    axes = {"label_smoothing": {"low": 0.0, "high": 0.5, "step": 0.1}, **AXES}
    for proposal in run(strategy_of(learning(axes, trials=20))):
        assert len(str(proposal.point["label_smoothing"])) == 3
        value = float(str(proposal.point["optimizer.learning_rate"]))
        assert value == float(f"{value:.4g}")


def test_failed_trials_teach_nothing_and_stop_nothing() -> None:
    """All fail, or give no number: the search goes on to its end."""
    for lost in (None, Scores.model_construct(accuracy=math.nan, f1_macro=0, cross_entropy=0)):
        strategy = strategy_of(learning())
        begun = 0
        while job := strategy.ask():
            begun += 1
            strategy.tell(job, lost)
        assert begun == 14


def test_what_cannot_be_is_drawn_elsewhere(monkeypatch: pytest.MonkeyPatch) -> None:
    """A combination that only the sampler met costs an attempt, not the search."""
    attempts = 0

    def broken(*_: object) -> Proposal:
        nonlocal attempts
        attempts += 1
        raise ConfigError("no trial can be made of it")

    monkeypatch.setattr("models.search.optuna_samplers.make_proposal", broken)

    assert len(run(strategy_of(learning(trials=11)))) == 11
    assert attempts == ATTEMPTS["tpe"]


@pytest.mark.parametrize("pruner", ["asha", "median", "hyperband"])
def test_killed_under_a_pruner_it_goes_on_from_its_journal(tmp_path: Path, pruner: str) -> None:
    """What was asked before the kill is asked after it, and nothing is proposed twice."""
    params = learning(pruner=pruner, epochs=9, trials=16)
    path = tmp_path / "journal.jsonl"
    before = run(JournaledStrategy(strategy_of(params), path), steps=19)

    after = run(JournaledStrategy(strategy_of(params), path), seed=5)

    assert after[: len(before)] == before
    assert len({proposal.config for proposal in after}) == len(after) == 16
    assert run(JournaledStrategy(strategy_of(params), path), seed=9) == after


def misled(budget: int, config: TrialConfig) -> Scores:
    """After one epoch a rate of 0.1 is best, after nine one of 0.0001."""
    rate = math.log10(config.optimizer.learning_rate)
    accuracy = 0.9 + rate / 10 if budget == 1 else 0.4 - rate / 10
    return Scores(accuracy=accuracy, f1_macro=accuracy, cross_entropy=1 - accuracy)


def proposed_after(scored_at_nine: int, *, least: int = 1) -> list[Proposal]:
    """Twelve trials after fourteen with a score at one epoch, of which some have one at nine."""
    params = learning(
        {"optimizer.learning_rate": AXES["optimizer.learning_rate"]},
        trials=40,
        ahead=1,
        epochs=9,
        pruner="hyperband",
    )
    proposer = proposer_of(params)
    proposals: list[Proposal] = []
    for number in range(26):
        proposal = proposer.propose(least=least if number > 13 else 1)
        assert proposal
        proposals.append(proposal)
        proposer.learn(number, misled(1, proposal.config), budget=1)
        if number < scored_at_nine:
            proposer.learn(number, misled(9, proposal.config), budget=9)
    return proposals[14:]


def test_with_a_pruner_it_learns_from_the_largest_budget_with_enough_scores() -> None:
    """One axis: from four scores at nine epochs, 1 + 3, those of one epoch count no more."""
    low, high = (
        statistics.median(one.config.optimizer.learning_rate for one in proposed_after(scored))
        for scored in (12, 3)
    )

    assert low < 0.003 < high
    assert proposed_after(3) == proposed_after(0) != proposed_after(4)


def test_a_trial_that_will_not_be_stopped_below_a_rung_is_not_chosen_by_lower_ones() -> None:
    """It is drawn, as in a random search; once the rung itself has enough scores it is chosen."""
    drawn = proposed_after(3, least=9)

    even = statistics.median(math.log10(one.config.optimizer.learning_rate) for one in drawn)
    assert -3.3 < even < -1.7
    assert proposed_after(4, least=9) == proposed_after(4)


def test_asking_in_vain_changes_nothing() -> None:
    """One that asks again while four trials are not told: the same trials as one that does not."""
    params = learning(pruner="hyperband", epochs=9, trials=16)
    found: list[list[Proposal]] = []
    for questions in (1, 3):
        strategy, running, begun = strategy_of(params), list[Job](), dict[int, Proposal]()
        while True:
            for _ in range(questions):
                while job := strategy.ask():
                    running.append(job)
                    begun[job.number] = job.proposal
            if not running:
                break
            job = running.pop(0)
            strategy.tell(job, misled(job.budget, job.proposal.config))
        found.append([begun[number] for number in sorted(begun)])

    assert found[0] == found[1]
    assert len(found[0]) == 16


def test_it_waits_for_what_it_is_to_learn_from() -> None:
    """Trial n is not begun before trial n - ahead is known, however many workers are idle."""
    params = learning(ahead=3)
    strategy = strategy_of(params)
    jobs = [strategy.ask() for _ in range(4)]
    assert [job is None for job in jobs] == [False, False, False, True]

    assert jobs[1]
    assert jobs[0]
    strategy.tell(jobs[1], None)
    assert strategy.ask() is None
    strategy.tell(jobs[0], None)
    assert strategy.ask() is not None


def test_a_gaussian_process_needs_the_same_axes_everywhere(tmp_path: Path) -> None:
    """A momentum for SGD alone is refused before work, with the way out; TPE takes it."""
    file = tmp_path / "params.yaml"
    axes = "{optimizer.name: [sgd, adam], optimizer.momentum: [0.0, 0.9]}"
    file.write_text(f"search: {{strategy: gp, axes: {axes}}}")

    with pytest.raises(ConfigError, match=r"axes\.optimizer\.momentum.*choose strategy: tpe"):
        load_params(file)
    assert load_params(file, ["search.strategy=tpe"]).search.strategy == "tpe"


def test_optuna_is_imported_when_it_is_asked_and_torch_for_gp_alone() -> None:
    """A second, and three more: a search that needs neither does not wait for them."""
    code = """
import sys
from models.config import Params, SearchParams
from models.search.strategies import strategy_of
axes = {"minibatch_size": [8, 16]}
strategy = strategy_of(Params(search=SearchParams(strategy="tpe", axes=axes)))
assert "optuna" not in sys.modules
assert strategy.ask()
assert "optuna" in sys.modules and "torch" not in sys.modules
"""
    ran = subprocess.run(
        [sys.executable, "-c", code], cwd=REPOSITORY, capture_output=True, text=True, check=False
    )

    assert ran.returncode == 0, ran.stderr
