"""Schedules of the learning rate: pure functions of the step."""

import math
from typing import Annotated, Literal

from pydantic import Field, computed_field, model_validator

from models.record import Record


class _Schedule(Record):
    """Learning rate as a function of the step, with an optional linear warm-up."""

    warmup: int | float = Field(0, ge=0)
    """Epochs, or parts of one, in which the factor rises linearly to that of the schedule."""

    @model_validator(mode="before")
    @classmethod
    def _null_horizon_is_none_given(cls, tree: object) -> object:
        """Drop a null horizon, so that another schedule gets its own default."""
        if isinstance(tree, dict) and tree.get("horizon", 0) is None:
            return {key: value for key, value in tree.items() if key != "horizon"}
        return tree

    def factor(self, epochs: float) -> float:
        """Factor on the learning rate, in [0, 1], after so many epochs and parts of one."""
        raise NotImplementedError


class _EndlessSchedule(_Schedule):
    @computed_field  # type: ignore[prop-decorator] # mypy knows no decorated property
    @property
    def horizon(self) -> None:
        """Null: not needed."""
        return


class _EndingSchedule(_Schedule):
    horizon: int = Field(10, ge=1)
    """Epochs from the learning rate to the least; it stays there after."""

    def _passed(self, epochs: float) -> float:
        """Share of the horizon that has passed."""
        return min(epochs / self.horizon, 1.0)


class ConstantSchedule(_EndlessSchedule):
    """A constant learning rate."""

    name: Literal["constant"] = "constant"

    def factor(self, epochs: float) -> float:  # noqa: ARG002 - it is constant
        return 1.0


class CosineSchedule(_EndingSchedule):
    """Half a cosine from the learning rate to 0 (Loshchilov & Hutter, 2017), without restart."""

    name: Literal["cosine"] = "cosine"

    def factor(self, epochs: float) -> float:
        return _half_cosine(self._passed(epochs))


class LinearSchedule(_EndingSchedule):
    """A line from the learning rate to 0."""

    name: Literal["linear"] = "linear"

    def factor(self, epochs: float) -> float:
        return 1 - self._passed(epochs)


class OneCycleSchedule(_EndingSchedule):
    """Up to the learning rate, then almost to 0, each by half a cosine (Smith & Topin, 2019)."""

    name: Literal["one_cycle"] = "one_cycle"
    rise: float = Field(0.3, gt=0, lt=1)
    """Share of the horizon in which the rate rises."""
    start: float = Field(0.04, gt=0, le=1)
    """Factor at the first step."""
    end: float = Field(0.0001, ge=0, le=1)
    """Factor at the horizon and after."""

    def factor(self, epochs: float) -> float:
        passed = self._passed(epochs)
        if passed < self.rise:
            return 1 - (1 - self.start) * _half_cosine(passed / self.rise)
        fallen = _half_cosine((passed - self.rise) / (1 - self.rise))
        return self.end + (1 - self.end) * fallen


class RestartsSchedule(_EndlessSchedule):
    """Half cosines to 0, each followed by a longer one (SGDR; Loshchilov & Hutter, 2017)."""

    name: Literal["restarts"] = "restarts"
    period: int = Field(5, ge=1)
    """Epochs of the first half cosine."""
    lengthening: int = Field(2, ge=1, le=10)
    """Ratio of the epochs of each to those of the one before."""

    def factor(self, epochs: float) -> float:
        period = float(self.period)
        if self.lengthening == 1:
            return _half_cosine(epochs % period / period)
        while epochs >= period:
            epochs, period = epochs - period, period * self.lengthening
        return _half_cosine(epochs / period)


class StepSchedule(_EndlessSchedule):
    """The learning rate multiplied by a factor every `every` epochs."""

    name: Literal["step"] = "step"
    every: int = Field(5, ge=1)
    """Epochs between two steps."""
    decay: float = Field(0.1, gt=0, le=1)
    """Factor of each step."""

    def factor(self, epochs: float) -> float:
        return math.pow(self.decay, math.floor(epochs / self.every))


class ExponentialSchedule(_EndlessSchedule):
    """The learning rate multiplied by a factor each epoch, in equal parts at its steps."""

    name: Literal["exponential"] = "exponential"
    decay: float = Field(0.9, gt=0, le=1)
    """Factor of each epoch."""

    def factor(self, epochs: float) -> float:
        return math.pow(self.decay, epochs)


ScheduleConfig = Annotated[
    ConstantSchedule
    | CosineSchedule
    | LinearSchedule
    | OneCycleSchedule
    | RestartsSchedule
    | StepSchedule
    | ExponentialSchedule,
    Field(discriminator="name"),
]


def learning_rate_factor(schedule: ScheduleConfig, step: int, *, steps_per_epoch: int) -> float:
    """Factor in [0, 1] on the learning rate at an optimiser step, counted from 0 over all epochs.

    The warm-up multiplies what the schedule says at that step, and first reaches 1 at its end.
    """
    warmup = schedule.warmup * steps_per_epoch
    risen = min((step + 1) / warmup, 1.0) if warmup else 1.0
    return risen * schedule.factor(step / steps_per_epoch)


def _half_cosine(passed: float) -> float:
    """From 1 at 0 to 0 at 1."""
    return 0.5 * (1 + math.cos(math.pi * passed))
