"""`search:` in params.yaml: which trials are run, and how long."""

import math
from collections.abc import Mapping, Sequence
from typing import Annotated, Literal, Self

from pydantic import Discriminator, Field, JsonValue, Tag, model_validator

from models.record import Record

Number = int | float


class Range(Record):
    """Numbers from low to high, both included; whole ones where both ends (and the step) are."""

    low: Number
    """Least value."""
    high: Number
    """Greatest value."""
    log: bool = False
    """Uniform in the logarithm: as many between 0.001 and 0.01 as between 0.01 and 0.1."""
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
        """Round a number to the digits that values of this range have, and not beyond its ends."""
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
        """Greatest value that a number of steps from low comes to; high where there is no step."""
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


class SearchParams(Record):
    """Which trials are run, and for how many epochs."""

    strategy: Literal["grid", "random", "tpe", "gp"] = "grid"
    """grid: every combination of the axes' values, once each. random: so many, drawn evenly.
    tpe, gp: the first ten as in random, each further one where earlier ones did well, by a tree of
    Parzen estimators or a Gaussian process."""
    epochs: int = Field(10, ge=1, le=100_000)
    """Epoch budget of a trial; not in its key: raising it goes on from what is there."""
    trials: int = Field(20, ge=1, le=100_000)
    """How many trials are drawn, all different; a grid has as many as it has points."""
    ahead: int = Field(4, ge=1, le=1000)
    """tpe, gp: trial n is chosen by what trials up to n - ahead came to, on any number of workers
    alike; so no more than so many train at once."""
    seed: int = Field(0, ge=0, lt=2**31)
    """Origin of what is drawn; a trial's own seed is trial.seed."""
    pruner: Pruner = "none"
    """How trials are stopped early where others do better. asha: asynchronous successive halving.
    hyperband: halving that begins at each of the rungs, for a share of the trials each. median: a
    trial is stopped at a rung where it is worse than half of those that were there before."""
    reduction_factor: int = Field(3, ge=2, le=100)
    """Each rung is so many times the epochs of the one below; asha, hyperband: one trial in so many
    goes on to it."""
    min_epochs: int = Field(1, ge=1, le=100_000)
    """Epochs of the lowest rung, which every trial gets; without a pruner it means nothing."""
    min_trials: int = Field(5, ge=1, le=100_000)
    """median: at a rung that fewer trials came to before, none is stopped."""
    max_epochs_total: int | None = Field(None, ge=1)
    """Cost in trial-epochs: no trial is begun or goes on that would bring the epochs asked for, of
    all trials together, beyond this. Cached ones count, and so do those saved by early stopping."""
    max_seconds: float | None = Field(None, gt=0)
    """No trial is begun or goes on after so long; what runs then is finished first."""
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
    def _lowest_rung_is_within(self) -> Self:
        if self.pruner != "none" and self.min_epochs > self.epochs:
            raise ValueError(
                f"min_epochs {self.min_epochs} must not be above epochs {self.epochs}: lower it"
            )
        return self

    @model_validator(mode="after")
    def _one_trial_can_be_paid(self) -> Self:
        pruned = self.pruner != "none"
        first = min(self.min_epochs, self.epochs) if pruned else self.epochs
        if self.max_epochs_total is not None and self.max_epochs_total < first:
            raise ValueError(
                f"max_epochs_total {self.max_epochs_total} must not be below the {first} epochs of "
                f"a first trial: raise it, or lower {'min_epochs' if pruned else 'epochs'}"
            )
        return self

    @property
    def extremes(self) -> dict[str, Sequence[JsonValue]]:
        """Axis -> values some trial must be able to have: those listed, or both ends of a range."""
        return {
            axis: values.ends if isinstance(values, Range) else values
            for axis, values in self.axes.items()
        }
