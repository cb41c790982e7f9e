"""Which hyperparameters mattered: what is true is found, luck is called luck, figures are whole."""

import itertools
import math
from xml.etree import ElementTree as ET

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models.evaluation.report.hyperparameters import describe_hyperparameters
from models.evaluation.report.report_input import LeaderboardRow, Selection
from models.search.importance import (
    ABSENT,
    FEWEST,
    SIGNIFICANCE,
    Importances,
    Tried,
    adjusted_p_values,
    axes_of,
    importances,
)
from models.search.importance_figures import parallel_figure, slices_figure
from models.trials import Scores


def random_search(count: int, *, seed: int = 0, matters: bool = True) -> list[Tried]:
    """The score has its peak at a learning rate of 0.01; width and kind do nothing."""
    random = np.random.default_rng(seed)
    found = []
    for _ in range(count):
        rate = 10 ** random.uniform(-4, -1)
        point = {
            "learning_rate": f"{rate:.5g}",
            "width": str(random.choice([16, 32])),
            "kind": str(random.choice(["adam", "sgd"])),
        }
        effect = -0.05 * (math.log10(rate) + 2) ** 2 if matters else 0.0
        found.append(Tried(point, 0.9 + effect + 0.01 * float(random.normal())))
    return found


def test_what_decides_the_scores_is_found_and_the_rest_is_not_said() -> None:
    found = importances(random_search(24, seed=1), logarithm=False)

    assert [one.axis for one in found.axes if one.told] == ["learning_rate"]
    first, *others = found.axes
    assert first.axis == "learning_rate"
    assert first.interval.low <= first.share <= first.interval.high <= 1
    assert first.share > 3 * max(one.share for one in others)
    assert found.sentence == (
        "By 24 trials, learning_rate mattered; of the others that is not shown"
    )


def test_luck_is_called_luck() -> None:
    """The forest explains it, as it does anything; the answer says that nothing is shown."""
    found = importances(random_search(12, matters=False), logarithm=False)

    assert max(one.share for one in found.axes) > 0.2
    assert "12 trials do not tell" in found.sentence


def test_too_few_trials_and_single_axes_are_said_to_be() -> None:
    few = importances(random_search(FEWEST - 1), logarithm=False)
    single = importances([Tried({"rate": str(at)}, at / 20) for at in range(12)], logarithm=False)
    assert (few.axes, single.axes) == ((), ())
    assert few.sentence == (
        "Which hyperparameter mattered, 8 trials cannot tell: 9 are needed that differ on two axes "
        "or more"
    )


def test_p_values_are_those_of_the_permutations() -> None:
    """By hand: of the 20 ways to halve six scores two separate as well, on one axis: p = 0.1.

    On two axes that divide alike the same ones count, once.
    """
    tried = [
        Tried({"a": "xy"[at >= 3], "b": "uv"[at >= 3]}, score)
        for at, score in enumerate([1.0, 2.0, 3.0, 7.0, 8.0, 9.0])
    ]
    axes, scores = axes_of(tried), np.array([one.score for one in tried])

    [alone] = adjusted_p_values(axes[:1], scores)
    both = adjusted_p_values(axes, scores)

    assert alone == pytest.approx(0.1, abs=0.03)  # 1,999 of the permutations
    assert both == [alone, alone]


@pytest.mark.parametrize("grid", [("16", "32"), ("16", "32", "64", "128", "256", "512")])
def test_of_axes_none_of_which_matters_few_are_said_to(grid: tuple[str, ...]) -> None:
    """At most one search in twenty; of 60, within what chance allows of that (0.1 %)."""
    random = np.random.default_rng(0)
    points = [{"a": a, "b": b} for a, b in itertools.product(grid, ("x", "y", "z"))]
    told = 0
    for _ in range(60):
        tried = [Tried(point, float(random.normal())) for point in points]
        scores = np.array([one.score for one in tried])
        told += min(adjusted_p_values(axes_of(tried), scores)) <= SIGNIFICANCE
    assert told <= 9


@settings(max_examples=20)
@given(st.integers(0, 2**32 - 1), st.floats(0.1, 5))
def test_only_the_order_of_the_scores_counts(seed: int, power: float) -> None:
    """One trial that diverged decides nothing; and axes without differences are none."""
    tried = random_search(12, seed=seed)
    axes, scores = axes_of(tried), np.array([one.score for one in tried])
    found = adjusted_p_values(axes, scores)

    assert adjusted_p_values(axes, np.exp(power * scores)) == pytest.approx(found)
    assert all(0 < one <= 1 for one in found)
    assert all(len(axis.names) > 1 for axis in axes)


def test_axes_are_read_as_they_are_meant() -> None:
    """Numbers, logarithms, names, and what the kinds chosen do not have."""
    values = {
        "rate": ("0.001", "0.01", "0.1"),
        "units": ("16", "32", "64"),
        "dropout": ("0.1", "0.3", "0.5"),
        "channels": ("8-8", "16-16", "8-8"),
        "signed": ("-1", "0", "1"),
    }
    tried = [Tried({name: of[at] for name, of in values.items()}, at) for at in range(3)]
    tried.append(Tried({**tried[0].point, "rate": ABSENT}, 3))
    del tried[3].point["units"]  # type: ignore[attr-defined] # a dict, as made here

    rate, units, dropout, channels, signed = axes_of(tried)

    assert rate.logarithmic
    assert units.numbers is not None
    assert units.numbers.tolist() == [16, 32, 64, 32]  # the median where there is none
    assert units.logarithmic
    assert not dropout.logarithmic
    assert channels.numbers is None
    assert signed.numbers is not None
    assert not signed.logarithmic


def row(tried: Tried, *, state: str = "trained") -> LeaderboardRow:
    scores = Scores(accuracy=tried.score, f1_macro=0.5, cross_entropy=1 - tried.score)
    return LeaderboardRow(tried.point, scores, 3, 1.0, state, cached=False)


def selection(rows: list[LeaderboardRow]) -> Selection:
    return Selection(rows, [], 1, "accuracy")


def test_the_section_is_about_trials_that_were_trained_to_the_end() -> None:
    """A pruned one has the score of fewer epochs; of trials that do not differ there is none."""
    tried = random_search(12)
    rows = [row(one) for one in tried]

    found = describe_hyperparameters(selection([*rows, row(tried[0], state="pruned")]))

    assert found is not None
    assert found.importances == importances(tried, logarithm=False)  # twice the same
    assert found.slices.startswith("data:image/svg+xml;base64,")
    assert describe_hyperparameters(selection([rows[0], rows[0]])) is None
    assert describe_hyperparameters(selection([])) is None


def test_figures_are_whole_safe_and_the_same_twice() -> None:
    """Names are outlines, not markup: nothing of them can run or break the picture."""
    bad = "<script>$\\frac{</script>"
    tried = [
        Tried({**one.point, bad: "&<>"[at % 3]}, one.score)
        for at, one in enumerate(random_search(9))
    ]
    axes, scores = axes_of(tried), np.array([one.score for one in tried])
    for draw in (slices_figure, parallel_figure):
        first, second = (draw(axes, scores, score="accuracy") for _ in range(2))
        assert first == second
        tags = {one.tag.rpartition("}")[2] for one in ET.fromstring(first).iter()}
        assert "svg" in tags
        assert not tags & {"script", "a", "image", "foreignObject"}
        assert len(first) < 300_000


def test_the_answer_of_nothing_is_said() -> None:
    assert "0 trials cannot tell" in Importances(0, ()).sentence
    assert "1 trial cannot tell" in Importances(1, ()).sentence
