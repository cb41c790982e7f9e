"""`search:` of the params: which trials are run, and for how long."""

import math
from collections.abc import Mapping, Sequence
from typing import Annotated, Literal, Self

from pydantic import Discriminator, Field, JsonValue, Tag, model_validator

from models.record import Record

Number = int | float


class Range(Record):
    """Numbers from low to high, inclusive; whole numbers if both ends and the step are whole."""

    low: Number
    """Least value."""
    high: Number
    """Greatest value."""
    log: bool = False
    """Uniform in the logarithm: 0.001 to 0.01 is as probable as 0.01 to 0.1."""
    step: Annotated[Number, Field(gt=0)] | None = None
    """Distance between two values, counted from low; null: any value."""

    @model_validator(mode="after")
    def _ends_are_apart(self) -> Self:
        if self.low >= self.high:
            raise ValueError(f"low {self.low!r} must be below high {self.high!r}")
        if self.log and self.low <= 0:
            raise ValueError(f"log needs low > 0, not {self.low!r}")
        if self.log and self.step is not None:
            raise ValueError("log and step exclude each other: drop one")
        return self

    def at(self, fraction: float) -> Number:
        """Return the value at a fraction, in [0, 1), of the way from low to high.

        Fractions that are uniform give values that are. Other than whole ones are rounded to four
        digits of the value, or of the range where that is narrower, so that they can be read.
        """
        if self.step is not None:
            steps = math.floor((self.high - self.low) / self.step + 1e-9)
            value = self.low + math.floor(fraction * (steps + 1)) * self.step
        elif self.log:
            top = self.high + self.whole
            value = math.exp(math.log(self.low) + fraction * math.log(top / self.low))
        else:
            value = self.low + fraction * (self.high - self.low + self.whole)
        return self.readable(value)

    def readable(self, value: float) -> Number:
        """Round a number to the digits of this range's values, and clip it to the range."""
        if self.whole:
            rounded: Number = math.floor(value)
        elif self.step is not None:
            rounded = round(value, 12)
        else:
            width = float(self.high - self.low)
            rounded = round(value, 3 - math.floor(math.log10(min(abs(value) or width, width))))
        return min(max(rounded, self.ends[0]), self.ends[1])

    @property
    def ends(self) -> tuple[Number, Number]:
        """Least and greatest value."""
        if self.whole:
            return self.low, self.high
        return float(self.low), float(self.high)

    @property
    def last(self) -> Number:
        """Greatest value that steps from low reach; high where there is no step."""
        if self.step is None:
            return self.ends[1]
        return self.at(math.nextafter(1, 0))

    @property
    def whole(self) -> bool:
        """Whether its values are whole numbers."""
        return all(isinstance(end, int) for end in (self.low, self.high, self.step or 1))


def _kind_of_axis(value: object) -> str:
    return "range" if isinstance(value, Range | Mapping) else "values"


Values = Annotated[list[JsonValue], Field(min_length=1)]
Axis = Annotated[
    Annotated[Values, Tag("values")] | Annotated[Range, Tag("range")], Discriminator(_kind_of_axis)
]


Pruner = Literal["none", "asha", "hyperband", "median"]


class ConfirmParams(Record):
    """Training of a search's best configurations with other seeds, to select among them."""

    top: int = Field(3, ge=1, le=100)
    """Configurations: the best trials of the search that had the whole budget."""
    seeds: int = Field(3, ge=2, le=100)
    """Seeds of each, beside its own: those that follow it."""


class SearchParams(Record):
    """Choice of the trials, and their epochs."""

    strategy: Literal["grid", "random", "tpe", "gp"] = "grid"
    """grid: every combination of the axes' values. random: `trials` combinations, drawn uniformly.
    tpe, gp: the first ten as in random, then by the results of earlier trials, with a tree of
    Parzen estimators or a Gaussian process; with a pruner by those at the largest rung that has as
    many as there are axes and three more, and every third trial as in random."""
    epochs: int = Field(10, ge=1, le=100_000)
    """Epoch budget of a trial; not in its key, so that raising it continues the training."""
    trials: int = Field(20, ge=1, le=100_000)
    """Number of trials, all different, of every strategy but grid."""
    ahead: int = Field(4, ge=1, le=1000)
    """tpe, gp: trial n is chosen by the results of trials up to n - ahead, so that the choice does
    not depend on the number of workers; at most this many train at the same time."""
    seed: int = Field(0, ge=0, lt=2**31)
    """Seed of the drawing; the seed of a trial is trial.seed."""
    pruner: Pruner = "none"
    """Early stopping of trials that are worse than others. asha: asynchronous successive halving.
    hyperband: halving that starts at each of the rungs, with a share of the trials each. median: a
    trial is stopped at a rung where its best epoch is worse than the median of the earlier ones'
    averages over their epochs."""
    reduction_factor: int = Field(3, ge=2, le=100)
    """Ratio of the epochs of a rung to those of the rung below, before rounding; asha, hyperband:
    of the trials below to those that continue."""
    min_epochs: int = Field(1, ge=1, le=100_000)
    """Least epochs of the lowest rung, which every trial is given; ignored without a pruner. Rungs
    divide `epochs` by the reduction factor, again and again, as long as this many are left."""
    min_trials: int = Field(5, ge=1, le=100_000)
    """median: earlier trials at a rung without which none is stopped there."""
    max_epochs_total: int | None = Field(None, ge=1)
    """Budget in epochs of all trials together: no trial is started or continued beyond it. Cached
    epochs count, and so do those that early stopping saved."""
    max_seconds: float | None = Field(None, gt=0)
    """Seconds after which no trial is started or continued; running ones are finished."""
    trial_timeout_minutes: float | None = Field(None, gt=0, le=10_080)
    """Minutes without a finished epoch after which a trial is killed and has failed; at most those
    of a week. It is not tried again within this limit, except by `run --force`. null: no limit."""
    refit: bool = False
    """After the selection, train the selected trial's config once more on train and validation
    together, for the epochs after which it was best, and evaluate and register that. A temperature
    is the selected trial's; the report's curves are, too."""
    baselines: bool = False
    """Score logistic regression, nearest neighbours and a random forest on pixels as well, and the
    article's CNN with Adam at 0.001 and minibatches of 32, trained as long as a trial; on
    validation, beside the leaderboard. They are never selected."""
    confirm: ConfirmParams | None = None
    """After the search, train its best configurations again with other seeds, and select the one
    with the best mean objective over these; the trial of the configured seed is served. These
    trials come on top of max_epochs_total and max_seconds. null: the best trial is selected."""
    axes: dict[str, Axis] = Field(default_factory=dict)
    """Dotted path inside `trial` -> values, or for all but grid a range of numbers such as
    {low: 0.0001, high: 0.1, log: true}. No axes: one trial."""

    @model_validator(mode="after")
    def _a_grid_is_finite(self) -> Self:
        ranges = [axis for axis, values in self.axes.items() if isinstance(values, Range)]
        if self.strategy == "grid" and ranges:
            raise ValueError(
                f"axes.{ranges[0]} is a range, and a grid needs values: list them, or choose "
                "strategy: random or tpe"
            )
        return self

    @model_validator(mode="after")
    def _confirmation_has_the_seeds(self) -> Self:
        if self.confirm is not None and "seed" in self.axes:
            raise ValueError(
                "confirm trains each configuration with other seeds, and axes.seed makes seeds "
                "configurations: drop one of the two"
            )
        return self

    @model_validator(mode="after")
    def _lowest_rung_is_within(self) -> Self:
        if self.pruner != "none" and self.min_epochs > self.epochs:
            raise ValueError(
                f"min_epochs {self.min_epochs} must not be above epochs {self.epochs}: lower it"
            )
        return self

    @model_validator(mode="after")
    def _one_trial_can_be_paid(self) -> Self:
        pruned = self.pruner != "none"
        first = self.rungs[0] if pruned else self.epochs
        way = "min_epochs" if pruned and self.min_epochs > 1 else "epochs"
        if self.max_epochs_total is not None and self.max_epochs_total < first:
            raise ValueError(
                f"max_epochs_total {self.max_epochs_total} must not be below the {first} epochs of "
                f"a first trial: raise it, or lower {way}"
            )
        return self

    @property
    def rungs(self) -> tuple[int, ...]:
        """Epochs of each rung, ascending: `epochs` / reduction_factor^k, rounded, halves upwards.

        k goes down from floor(log(epochs / min_epochs)), to the base reduction_factor, to 0: that
        many rungs, and brackets, have ASHA (Li et al., 2020) and Hyperband (Li et al., 2018). So
        the highest has exactly `epochs`, and each is about reduction_factor times the one below.
        """
        factors = [1]
        while self.min_epochs * factors[-1] * self.reduction_factor <= self.epochs:
            factors.append(factors[-1] * self.reduction_factor)
        return tuple((2 * self.epochs + factor) // (2 * factor) for factor in reversed(factors))

    @property
    def extremes(self) -> dict[str, Sequence[JsonValue]]:
        """Axis -> its values to validate: those listed, or both ends of a range."""
        return {
            axis: values.ends if isinstance(values, Range) else values
            for axis, values in self.axes.items()
        }
