"""Grid and selection: pure, total, each point once, ties and failures answered."""

import itertools
import math
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.config import Params, SearchParams, TrialConfig, load_params
from models.errors import ConfigError
from models.search.search_space import search_space
from models.search.selection import NoTrialSucceededError, rank, select_best
from models.trials import Outcome, Scores, TrialFailure, TrialResult

AXES = {
    "minibatch_size": st.lists(st.integers(1, 512), min_size=1, max_size=4, unique=True),
    "optimizer.learning_rate": st.lists(st.floats(1e-5, 1), min_size=1, max_size=3, unique=True),
    "network.hidden_units": st.lists(st.integers(1, 256), min_size=1, max_size=3, unique=True),
    "seed": st.lists(st.integers(0, 99), min_size=1, max_size=3, unique=True),
}


def with_axes(axes: dict[str, list[object]]) -> Params:
    return Params(search=SearchParams.model_validate({"axes": axes}, strict=False))


@given(st.fixed_dictionaries({}, optional=AXES))
def test_a_grid_is_the_product_of_its_axes_each_point_once(axes: dict[str, list[object]]) -> None:
    """As many trials as combinations, all different."""
    proposals = search_space(with_axes(axes))

    assert len(proposals) == math.prod(len(values) for values in axes.values())
    assert len({proposal.config for proposal in proposals}) == len(proposals)


def test_no_axes_are_one_trial_the_base() -> None:
    """An empty mapping is one trial."""
    assert [proposal.config for proposal in search_space(Params())] == [TrialConfig()]


def test_an_axis_that_a_kind_lacks_is_left_out_there() -> None:
    """A momentum multiplies SGD alone: 2 trials of SGD, 1 each of Adam and GD."""
    params = with_axes({"optimizer.name": ["gd", "sgd", "adam"], "optimizer.momentum": [0.0, 0.9]})

    names = [proposal.config.optimizer.name for proposal in search_space(params)]

    assert names == ["gd", "sgd", "sgd", "adam"]


SGD = "{optimizer: {name: sgd}}"
FAST = "{optimizer: {name: sgd, learning_rate: 50.0}}"  # more than Adam may have
MOMENTA = "optimizer.nesterov: [true, false], optimizer.momentum: [0.5, 0.9]"
RATES = "optimizer.name: [sgd, adam], optimizer.learning_rate: [0.1, 50.0]"


@pytest.mark.parametrize(
    ("trial", "axes", "trials"),
    [
        (SGD, MOMENTA, 4),
        ("{}", f"optimizer.name: [adam, sgd], {MOMENTA}", 5),
        ("{}", "devices: [1, 64], minibatch_size: [64, 128]", 4),
        (FAST, "optimizer.name: [adam, sgd], optimizer.learning_rate: [0.1, 1.0]", 4),
        ("{}", "optimizer.name: [gd], devices: [64]", 1),
    ],
)
@pytest.mark.parametrize("strategy", ["grid", "random"])
def test_values_that_need_another_axis_are_judged_with_it(
    tmp_path: Path, strategy: str, trial: str, axes: str, trials: int
) -> None:
    """Impossible beside the base alone, possible in each combination: the space is taken."""
    file = tmp_path / "params.yaml"
    file.write_text(f"trial: {trial}\nsearch: {{strategy: {strategy}, axes: {{{axes}}}}}")

    assert len(search_space(load_params(file))) == trials


@pytest.mark.parametrize(
    ("trial", "axes", "told"),
    [
        (
            "{}",
            "minibatch_size: [64, 16], devices: [1, 32]",
            "minibatch_size: 16 and devices: 32: devices 32 must not be above minibatch_size 16: ",
        ),
        (SGD, "optimizer.nesterov: [true]", "optimizer.nesterov: true: nesterov needs momentum"),
        ("{}", RATES, "50.0: learning_rate 50.0: Input should be less"),
        ("{}", "network.channels: [[9, 9, 9, 9]]", "[9, 9, 9, 9]: images of 28 pixels are too"),
    ],
)
def test_the_first_impossible_combination_is_told_in_one_line(
    tmp_path: Path, trial: str, axes: str, told: str
) -> None:
    """The values, the rule, the way out; others of the grid could be trained."""
    file = tmp_path / "params.yaml"
    file.write_text(f"data: {{image_size: 28}}\ntrial: {trial}\nsearch: {{axes: {{{axes}}}}}")

    with pytest.raises(ConfigError, match="drop one of these values") as refused:
        search_space(load_params(file))

    assert told in str(refused.value)
    assert len(str(refused.value).splitlines()) == 1
    assert "pydantic" not in str(refused.value)


def test_labels_tell_trials_apart_in_few_words() -> None:
    """Last parts of the axes, whole ones where they would be the same."""
    params = with_axes({"network.hidden_units": [64], "optimizer.name": ["sgd"], "seed": [0, 1]})

    assert [proposal.label for proposal in search_space(params)] == [
        "hidden=64 optimizer.name=sgd seed=0",
        "hidden=64 optimizer.name=sgd seed=1",
    ]


def test_an_axis_has_one_name_in_the_whole_search() -> None:
    """Where one trial has the optimiser's decay alone, it is not called as the schedule's."""
    params = with_axes(
        {
            "optimizer.name": ["rmsprop", "adam"],
            "optimizer.decay": [0.9],
            "schedule.name": ["constant", "step"],
            "schedule.decay": [0.1],
        }
    )

    differences = [proposal.differences for proposal in search_space(params)]

    assert differences[0]["optimizer.decay"] == "0.9"
    assert differences[-1]["schedule.decay"] == "0.1"
    assert not any("decay" in one for one in differences)


def test_a_grid_too_large_to_be_meant_is_refused() -> None:
    """The limit is named before memory is spent on it."""
    seeds: list[object] = list(range(400))

    with pytest.raises(ConfigError, match="160,000 combinations"):
        search_space(with_axes({"seed": seeds, "minibatch_size": [n + 1 for n in range(400)]}))


def result(key: str, accuracy: float, cross_entropy: float = 1.0) -> TrialResult:
    return TrialResult(
        key=key,
        config=TrialConfig(),
        budget=1,
        epochs=1,
        best_epoch=1,
        scores=Scores.model_construct(
            accuracy=accuracy, f1_macro=accuracy, cross_entropy=cross_entropy
        ),
        seconds=1.0,
        checkpoint="best.ckpt",
        checkpoint_digest="0",
        weights_digest="0",
    )


def failure(key: str) -> TrialFailure:
    return TrialFailure(
        key=key, config=TrialConfig(), budget=1, epochs=0, reason="loss is nan", kind="diverged"
    )


def test_a_tie_goes_to_the_lower_cross_entropy_then_to_the_earlier_trial() -> None:
    """Luck decides nothing."""
    tied = [result("a", 0.9, 0.4), result("b", 0.9, 0.3), result("c", 0.9, 0.3)]

    assert select_best(tied, "accuracy").key == "b"


def test_failures_and_scores_that_are_not_finite_never_win() -> None:
    """NaN compares false with everything: it is left out before comparing."""
    outcomes: list[Outcome] = [
        failure("f"),
        result("n", math.nan),
        result("i", 0.99, math.inf),
        result("a", 0.1),
    ]

    assert select_best(outcomes, "accuracy").key == "a"


def test_when_all_trials_failed_the_reasons_are_told() -> None:
    """No winner is made up."""
    with pytest.raises(NoTrialSucceededError, match="none of 2 trials succeeded: loss is nan"):
        select_best([failure("a"), failure("b")], "accuracy")


def test_when_no_trial_was_begun_the_limit_is_blamed() -> None:
    """And not the learning rate of trials that there were not."""
    with pytest.raises(NoTrialSucceededError, match=r"search\.max_seconds .* raise it") as raised:
        select_best([], "accuracy")

    assert "learning rate" not in str(raised.value)


def test_cross_entropy_is_better_when_lower() -> None:
    """We say which way is better."""
    outcomes = [result("a", 0.95, 0.5), result("b", 0.9, 0.2)]

    assert select_best(outcomes, "cross_entropy").key == "b"
    assert select_best(outcomes, "accuracy").key == "a"


SCORED = st.lists(st.tuples(st.floats(0, 1), st.floats(0, 5)), min_size=1, max_size=5, unique=True)


@given(SCORED)
def test_the_winners_scores_do_not_depend_on_the_order_of_outcomes(
    scored: list[tuple[float, float]],
) -> None:
    """Whichever trial ends first, the same one is best."""
    results = [result(str(n), *pair) for n, pair in enumerate(scored)]
    winners = {select_best(order, "accuracy").scores for order in itertools.permutations(results)}

    assert len(winners) == 1


@given(SCORED)
def test_a_dominated_trial_never_changes_the_winner(scored: list[tuple[float, float]]) -> None:
    """Adding a trial that is worse in everything leaves the winner."""
    results = [result(str(n), *pair) for n, pair in enumerate(scored)]
    best = rank(results, "accuracy")[0]

    with_worse = [result("worse", -1.0, 9.0), *results]

    assert select_best(with_worse, "accuracy") == best
