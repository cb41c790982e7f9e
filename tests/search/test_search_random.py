"""Random search: ranges, draws that depend on (seed, n) alone, duplicates served once."""

import itertools
import json
import math
from collections.abc import Mapping
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from project_folder import REPOSITORY
from pydantic import JsonValue

from models.config import Params, Point, SearchParams, TrialConfig, load_params
from models.config.search import Range
from models.config.space import applicable, count_points
from models.errors import ConfigError
from models.search.search_space import draw_point, random_proposals

LEARNING_RATE = {"low": 1e-4, "high": 0.1, "log": True}
FRACTIONS = st.floats(0, 1, exclude_max=True)


def randomly(axes: Mapping[str, object], *, trials: int = 20, seed: int = 0) -> Params:
    search = {"strategy": "random", "axes": axes, "trials": trials, "seed": seed}
    return Params(search=SearchParams.model_validate(search))


@given(fraction=FRACTIONS, low=st.integers(1, 500), width=st.integers(1, 500), log=st.booleans())
def test_whole_ranges_give_whole_numbers_within(
    *, fraction: float, low: int, width: int, log: bool
) -> None:
    """Both ends can come, nothing beyond them does."""
    numbers = Range(low=low, high=low + width, log=log)

    value = numbers.at(fraction)

    assert isinstance(value, int)
    assert low <= value <= low + width
    assert (numbers.at(0.0), numbers.at(math.nextafter(1, 0))) == (low, low + width)


@given(fraction=FRACTIONS, low=st.floats(1e-6, 10), width=st.floats(1e-3, 10), log=st.booleans())
def test_other_ranges_stay_within_and_grow_with_the_fraction(
    *, fraction: float, low: float, width: float, log: bool
) -> None:
    """Rounding moves no value over an end, nor past a neighbour."""
    numbers = Range(low=low, high=low + width, log=log)

    assert low <= numbers.at(fraction / 2) <= numbers.at(fraction) <= low + width


@pytest.mark.parametrize(
    ("numbers", "values"),
    [
        (Range(low=16, high=64, step=16), [16, 16, 48, 64, 64]),
        (Range(low=0.0, high=0.5, step=0.1), [0.0, 0.1, 0.3, 0.5, 0.5]),
        (Range(low=1, high=4), [1, 1, 3, 4, 4]),
        (Range(low=1, high=7, log=True), [1, 1, 2, 5, 7]),  # 8 to that power, cut
        (Range(low=0.01, high=1.0, log=True), [0.01, 0.02512, 0.1, 0.5012, 0.955]),
        (Range(low=0.999, high=0.9999), [0.999, 0.99918, 0.99945, 0.9997650, 0.999891]),
    ],
)
def test_values_at_fractions_worked_by_hand(numbers: Range, values: list[float]) -> None:
    """At 0, 0.2, 0.5, 0.85 and 0.99 of the way; narrow ranges keep their digits."""
    assert [numbers.at(fraction) for fraction in (0, 0.2, 0.5, 0.85, 0.99)] == values


@given(st.integers(1, 12), st.integers(1, 12), st.integers(0, 999))
def test_fifty_trials_are_the_first_25_and_25_more(fewer: int, more: int, seed: int) -> None:
    """Raising the number of trials repeats those there were, in their order."""
    axes = {"optimizer.learning_rate": LEARNING_RATE, "minibatch_size": [16, 32]}
    few = list(random_proposals(randomly(axes, trials=fewer, seed=seed)))
    many = list(random_proposals(randomly(axes, trials=fewer + more, seed=seed)))

    assert few == many[:fewer]
    assert len(many) == fewer + more
    assert len({proposal.config for proposal in many}) == len(many)


def test_an_axis_added_leaves_the_values_of_the_others() -> None:
    """Each axis draws for itself."""
    alone = randomly({"optimizer.learning_rate": LEARNING_RATE})
    beside = randomly({"seed": [0, 1, 2], "optimizer.learning_rate": LEARNING_RATE})

    for index in range(5):
        axis = "optimizer.learning_rate"
        assert draw_point(alone, index)[axis] == draw_point(beside, index)[axis]


def test_another_seed_draws_other_trials() -> None:
    """The seed of the search is what draws depend on."""
    axes = {"optimizer.learning_rate": LEARNING_RATE}
    first = {proposal.config for proposal in random_proposals(randomly(axes, seed=0))}
    second = {proposal.config for proposal in random_proposals(randomly(axes, seed=1))}

    assert not first & second


def test_draws_are_even() -> None:
    """A log range has as many draws in each decade: a third of 3,000 each, give or take 4 sigma."""
    params = randomly({"optimizer.learning_rate": LEARNING_RATE})
    values = [draw_point(params, index)["optimizer.learning_rate"] for index in range(3000)]
    decades = [
        sum(1 for v in values if low <= float(str(v)) < 10 * low) for low in (1e-4, 1e-3, 0.01)
    ]

    assert all(abs(count - 1000) < 4 * math.sqrt(3000 * 2 / 9) for count in decades)


def test_a_space_smaller_than_what_is_asked_for_is_drawn_whole_and_once() -> None:
    """Twelve points, twenty trials asked for: twelve, each exactly once."""
    axes: dict[str, list[object]] = {"minibatch_size": [8, 16, 32, 64], "seed": [0, 1, 2]}

    proposals = list(random_proposals(randomly(axes)))

    points = {(p.config.minibatch_size, p.config.seed) for p in proposals}
    assert points == set(itertools.product([8, 16, 32, 64], [0, 1, 2]))
    assert len(proposals) == 12


def test_drawing_ends_once_all_points_were_drawn(monkeypatch: pytest.MonkeyPatch) -> None:
    """Twelve points are found in some forty draws, however many trials were asked for."""
    draws = 0

    def counted(params: Params, index: int) -> Point:
        nonlocal draws
        draws += 1
        return draw_point(params, index)

    monkeypatch.setattr("models.search.search_space.draw_point", counted)
    axes: dict[str, list[object]] = {"minibatch_size": [8, 16, 32, 64], "seed": [0, 1, 2]}

    assert len(list(random_proposals(randomly(axes, trials=100_000)))) == 12
    assert draws < 200


KINDS = {
    "optimizer.name": st.lists(st.sampled_from(["sgd", "adam", "gd"]), min_size=1, max_size=4),
    "optimizer.momentum": st.lists(st.sampled_from([0.0, 0.5, 0.9]), min_size=1, max_size=4),
    "optimizer.beta1": st.lists(st.sampled_from([0.8, 0.9]), min_size=1, max_size=2),
    "network.name": st.lists(st.sampled_from(["cnn", "rnn"]), min_size=1, max_size=2),
    "network.cell": st.lists(st.sampled_from(["gru", "lstm"]), min_size=1, max_size=2),
    "early_stopping.patience": st.lists(st.sampled_from([None, 1]), min_size=1, max_size=2),
    "seed": st.lists(st.integers(0, 2), min_size=1, max_size=4),
}


@given(st.fixed_dictionaries({}, optional=KINDS), st.sampled_from(["sgd", "rmsprop"]))
def test_points_are_counted_as_they_are_enumerated(
    axes: dict[str, list[JsonValue]], base: str
) -> None:
    """What a kind lacks multiplies nothing, and a value written twice is one."""
    trial = TrialConfig.model_validate({"optimizer": {"name": base}})
    every = itertools.product(*axes.values())
    points = [applicable(trial, dict(zip(axes, values, strict=True))) for values in every]

    assert count_points(trial, axes) == len({json.dumps(dict(point)) for point in points})


def test_an_axis_that_a_kind_lacks_is_left_out_there() -> None:
    """Adam takes no momentum: two trials of SGD and one of Adam."""
    params = randomly({"optimizer.name": ["sgd", "adam"], "optimizer.momentum": [0.0, 0.9]})

    assert sorted(p.config.optimizer.name for p in random_proposals(params)) == [
        "adam",
        "sgd",
        "sgd",
    ]


FAULTS = [
    ("minibatch_size: {low: 8}", "minibatch_size.high", "required"),
    ("minibatch_size: {low: 8, hihg: 9}", "minibatch_size.hihg", "did you mean 'high'"),
    ("minibatch_size: {low: 9, high: 8}", "minibatch_size", "must be below high"),
    ("minibatch_size: {low: 0, high: 8}", "minibatch_size", "greater than or equal to 1"),
    ("minibatch_size: {low: 8.0, high: 9}", "minibatch_size", "valid integer"),
    ("optimizer.learning_rate: {low: 0.1, high: 11}", "learning_rate", "less than or equal to 10"),
    ("optimizer.learning_rate: {low: 0, high: 1, log: true}", "learning_rate", "log needs low > 0"),
    ("seed: {low: 0, high: 8, step: 0}", "seed.step", "greater than 0"),
    ("seed: {low: 1, high: 8, step: 2, log: true}", "seed", "log and step"),
    ("sed: {low: 0, high: 8}", "sed", "did you mean 'seed'"),
    ("network.name: {low: 0, high: 8}", "network.name", "'cnn'"),
    ("seed: {low: .nan, high: 8}", "seed.low", "finite"),
]


@pytest.mark.parametrize(("axis", "path", "rule"), FAULTS)
def test_a_wrong_range_is_named_with_its_way_out(
    axis: str, path: str, rule: str, tmp_path: Path
) -> None:
    """Before the first epoch, with the path in the file."""
    file = tmp_path / "params.yaml"
    file.write_text(f"search: {{strategy: random, axes: {{{axis}}}}}")

    with pytest.raises(ConfigError) as caught:
        load_params(file)

    assert path in str(caught.value)
    assert rule in str(caught.value)


def test_a_grid_of_a_range_is_refused() -> None:
    """The message names the axis and the strategies that take it."""
    with pytest.raises(ConfigError, match=r"axes\.seed is a range.*strategy: random"):
        load_params(REPOSITORY / "params.yaml", ["search.axes={seed: {low: 1, high: 8}}"])
