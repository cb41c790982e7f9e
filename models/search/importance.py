"""Which hyperparameters mattered: functional ANOVA (Hutter et al., 2014), and what luck would do.

A random forest is fitted to the scores of a search's trials, and its variance over the search space
is split among the axes; what an axis does only together with others counts for none. A forest
explains noise as well as anything, so that a large share alone shows nothing: whether an axis
mattered is tested beside it, by ranks of the scores, which one diverged trial does not decide.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
from scipy import stats

from models.evaluation.records import Interval

if TYPE_CHECKING:
    from optuna.distributions import BaseDistribution

FEWEST = 9
"""Trials from which importances are estimated. Of eight, on three axes of two values, none can be
told: 6 of the 70 ways to halve them separate an axis as well as the best one."""
SIGNIFICANCE = 0.05
"""Probability, at most, that of axes none of which matters any is said to."""
_RESAMPLES, _SHUFFLES = 40, 1999
"""Bootstrap samples of the trials; orders of the scores."""
_TREES, _TREES_OF_RESAMPLE = 64, 8
ABSENT = "\N{EN DASH}"
"""In place of a value that the kinds chosen do not have."""
_MOST_NAMED, _PARTS = 5, 4
"""Different numbers that are compared one by one; of more, equal parts by size."""


@dataclass(frozen=True, slots=True)
class Tried:
    """A trial that was trained to the end."""

    point: Mapping[str, str]
    """Axis -> value."""
    score: float
    """Of the objective, on validation."""


@dataclass(frozen=True)  # no slots: what is derived is kept
class Axis:
    """An axis on which the trials differ."""

    name: str
    texts: tuple[str, ...]
    """Value of each trial."""

    @cached_property
    def numbers(self) -> npt.NDArray[np.float64] | None:
        """Values as numbers, the median where there is none; None: they are names."""
        present = [text for text in self.texts if text != ABSENT]
        try:
            known = np.array([float(text) for text in present])
        except ValueError:
            return None
        if not np.isfinite(known).all():
            return None
        middle = float(np.median(known))
        return np.array([middle if text == ABSENT else float(text) for text in self.texts])

    @property
    def logarithmic(self) -> bool:
        """Whether positive numbers lie around their geometric rather than their arithmetic mean."""
        numbers = self.numbers
        if numbers is None or numbers.min() <= 0:
            return False
        low, high, middle = numbers.min(), numbers.max(), np.log(np.median(np.unique(numbers)))
        geometric, arithmetic = (np.log(low) + np.log(high)) / 2, np.log((low + high) / 2)
        return bool(abs(middle - geometric) < abs(middle - arithmetic))

    @property
    def names(self) -> tuple[str, ...]:
        """Different values, in order of appearance."""
        return tuple(dict.fromkeys(self.texts))


@dataclass(frozen=True, slots=True)
class Importance:
    """Share of the scores' variance that an axis explains alone."""

    axis: str
    share: float
    """0 to 1."""
    interval: Interval
    """95 %, by bootstrap over the trials."""
    p_value: float
    """That scores do not depend on the axis, adjusted for the number of axes."""

    @property
    def told(self) -> bool:
        """Whether that is refused."""
        return self.p_value <= SIGNIFICANCE


@dataclass(frozen=True, slots=True)
class Importances:
    """Of every axis, the most important first; of few trials or a single axis none."""

    trials: int
    axes: tuple[Importance, ...]

    @property
    def sentence(self) -> str:
        """The answer in words, which says so where the trials do not tell."""
        told = [one.axis for one in self.axes if one.told]
        count = f"{self.trials} trial{'' if self.trials == 1 else 's'}"
        if not self.axes:
            return (
                f"Which hyperparameter mattered, {count} cannot tell: {FEWEST} are needed that "
                "differ on two axes or more"
            )
        if not told:
            return (
                f"Which hyperparameter mattered, {count} do not tell: the scores might depend on "
                "none of them"
            )
        named = " and ".join([", ".join(told[:-1]), told[-1]] if told[1:] else told)
        rest = "" if len(told) == len(self.axes) else "; of the others that is not shown"
        return f"By {count}, {named} mattered{rest}"


def axes_of(tried: Sequence[Tried]) -> tuple[Axis, ...]:
    """Return the axes on which the trials differ, in order of appearance."""
    names = dict.fromkeys(name for trial in tried for name in trial.point)
    axes = (Axis(name, tuple(one.point.get(name, ABSENT) for one in tried)) for name in names)
    return tuple(axis for axis in axes if len(axis.names) > 1)


def importances(tried: Sequence[Tried], *, logarithm: bool) -> Importances:
    """Estimate the importance of each axis; deterministic in the trials and their order.

    logarithm: of the scores, all above 0: one trial that diverged would be all of the variance of
    a cross-entropy.
    """
    axes = axes_of(tried)
    scores = np.array([one.score for one in tried], np.float64)
    if len(tried) < FEWEST or len(axes) < 2 or np.ptp(scores) == 0:
        return Importances(len(tried), ())
    p_values = adjusted_p_values(axes, scores)
    scores = np.log(scores) if logarithm else scores
    shares = _shares(axes, scores, np.arange(len(tried)), trees=_TREES)
    drawn = np.array(list(_resampled(axes, scores)))
    found = [
        Importance(axis.name, float(share), _interval(draws, float(share)), p_value)
        for axis, share, draws, p_value in zip(axes, shares, drawn.T, p_values, strict=True)
    ]
    return Importances(len(tried), tuple(sorted(found, key=lambda one: -one.share)))


def adjusted_p_values(axes: Sequence[Axis], scores: npt.NDArray[np.float64]) -> list[float]:
    """Test of each axis that the scores, (n,), do not depend on its value.

    Kruskal & Wallis (1952): analysis of variance on ranks, between an axis's values; its p-value by
    permutation, with the largest statistic of any axis, which adjusts for their number (Westfall &
    Young, 1993).
    """
    ranks = stats.rankdata(scores)
    generator = np.random.default_rng(len(scores))
    shuffled = [generator.permutation(ranks) for _ in range(_SHUFFLES)]
    table = np.stack([ranks, *shuffled])
    statistics = np.stack([_f_statistics(_parts(axis), table) for axis in axes])
    largest = statistics[:, 1:].max(axis=0)
    # As floats of equal sums may differ in their last bit.
    above = largest[None] >= statistics[:, :1] * (1 - 1e-9)
    return [float(one) for one in (1 + above.sum(axis=1)) / (1 + _SHUFFLES)]


def _parts(axis: Axis) -> npt.NDArray[np.int64]:
    """Place of each trial's value among the values that are compared."""
    numbers = axis.numbers
    if numbers is None or len(axis.names) <= _MOST_NAMED:
        return np.array([axis.names.index(text) for text in axis.texts])
    order = np.argsort(np.argsort(numbers, kind="stable"), kind="stable")
    found: npt.NDArray[np.int64] = order * min(_PARTS, len(numbers) // 3) // len(numbers)
    return found


def _f_statistics(
    parts: npt.NDArray[np.int64], table: npt.NDArray[np.float64]
) -> npt.NDArray[np.float64]:
    """Variance between the parts by that within them, of each row of scores (rows, n)."""
    count, width = len(parts), int(parts.max()) + 1
    members = np.eye(width)[parts]
    sizes = members.sum(axis=0)
    total = ((table - table.mean(axis=1, keepdims=True)) ** 2).sum(axis=1)
    between = ((table @ members) ** 2 / sizes).sum(axis=1) - count * table.mean(axis=1) ** 2
    within = np.maximum(total - between, 1e-9 * total)
    found: npt.NDArray[np.float64] = (between / (width - 1)) / (within / max(count - width, 1))
    return found


def _interval(draws: npt.NDArray[np.float64], share: float) -> Interval:
    low, high = np.quantile(draws, [0.025, 0.975])
    return Interval(low=min(float(low), share), high=max(float(high), share))


def _resampled(
    axes: Sequence[Axis], scores: npt.NDArray[np.float64]
) -> Iterator[npt.NDArray[np.float64]]:
    generator = np.random.default_rng(len(scores))
    for _ in range(_RESAMPLES):
        rows = generator.integers(0, len(scores), len(scores))
        yield _shares(axes, scores, rows, trees=_TREES_OF_RESAMPLE)


def _shares(
    axes: Sequence[Axis],
    scores: npt.NDArray[np.float64],
    rows: npt.NDArray[np.int64],
    *,
    trees: int,
) -> npt.NDArray[np.float64]:
    """Shares of the axes, by Optuna's forest, of some of the trials; 0 where nothing differs."""
    import optuna  # noqa: PLC0415 - half a second that other reports need not wait for
    from optuna.importance import FanovaImportanceEvaluator  # noqa: PLC0415

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    if np.ptp(scores[rows]) == 0:
        return np.zeros(len(axes))
    names = [f"{place}" for place in range(len(axes))]
    distributions = {name: _distribution(axis) for name, axis in zip(names, axes, strict=True)}
    study = optuna.create_study()
    study.add_trials(
        [
            optuna.create_trial(
                params={name: _value(axis, row) for name, axis in zip(names, axes, strict=True)},
                distributions=distributions,
                value=float(scores[row]),
            )
            for row in rows.tolist()
        ]
    )
    evaluator = FanovaImportanceEvaluator(n_trees=trees, seed=0)
    found = evaluator.evaluate(study, params=names)
    return np.array([float(found.get(name, 0.0)) for name in names])


def _distribution(axis: Axis) -> "BaseDistribution":
    from optuna import distributions  # noqa: PLC0415 - as above

    numbers = axis.numbers
    if numbers is None:
        return distributions.CategoricalDistribution(axis.names)
    low, high = float(numbers.min()), float(numbers.max())
    return distributions.FloatDistribution(low, high, log=axis.logarithmic)


def _value(axis: Axis, row: int) -> str | float:
    return axis.texts[row] if axis.numbers is None else float(axis.numbers[row])
