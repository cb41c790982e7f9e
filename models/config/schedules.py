"""Schedules of the learning rate: pure functions of the step and of past validation losses."""

import math
from collections.abc import Sequence
from typing import Annotated, Literal, Self

from pydantic import Field, computed_field, model_validator

from models.record import Record


class _Schedule(Record):
    """Learning rate as a function of the step, with an optional linear warm-up."""

    warmup: int | float = Field(0, ge=0)
    """Epochs, or parts of one, in which the factor rises linearly to that of the schedule."""

    def factor(self, epochs: float) -> float:
        """Factor on the learning rate, in [0, 1], after so many epochs and parts of one."""
        raise NotImplementedError

    def reduction(self, losses: Sequence[float]) -> float:  # noqa: ARG002 - few schedules look
        """Further factor, in (0, 1], by the validation loss of each epoch so far, nats."""
        return 1.0

    def for_epochs(self, epochs: int) -> Self:  # noqa: ARG002 - few schedules end
        """Return the schedule in a search of so many epochs a trial.

        Raises ValueError where it would end before them.
        """
        return self


class _EndlessSchedule(_Schedule):
    @model_validator(mode="before")
    @classmethod
    def _null_horizon_is_none_given(cls, tree: object) -> object:
        """Drop a null horizon: it is written, and no field."""
        if isinstance(tree, dict) and tree.get("horizon", 0) is None:
            return {key: value for key, value in tree.items() if key != "horizon"}
        return tree

    @computed_field  # type: ignore[prop-decorator] # mypy knows no decorated property
    @property
    def horizon(self) -> None:
        """Null: not needed."""
        return


class _EndingSchedule(_Schedule):
    horizon: int | None = Field(None, ge=1)
    """Epochs from the learning rate to the least; it stays there after. null: search.epochs. In the
    key of a trial: one whose horizon is given goes on where search.epochs is raised up to it."""

    def for_epochs(self, epochs: int) -> Self:
        if self.horizon is None:
            return self.model_copy(update={"horizon": epochs})
        check_horizon("schedule.horizon", self.horizon, epochs=epochs)
        return self

    def _passed(self, epochs: float) -> float:
        """Share of the horizon that has passed."""
        assert self.horizon is not None, "for_epochs comes first"
        return min(epochs / self.horizon, 1.0)


def check_horizon(name: str, horizon: int, *, epochs: int) -> None:
    """Raise ValueError where a horizon is below the epochs of a trial."""
    if horizon < epochs:
        raise ValueError(
            f"{name} {horizon} is below search.epochs {epochs}: in the epochs after it the "
            "learning rate would be almost 0; leave it out, and it is as long as they are"
        )


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


class PlateauSchedule(_EndlessSchedule):
    """The learning rate multiplied by a factor whenever validation gets no better."""

    name: Literal["plateau"] = "plateau"
    patience: int = Field(5, ge=1)
    """Epochs without a lower validation loss than ever, or since the last step, before a step."""
    decay: float = Field(0.1, gt=0, le=1)
    """Factor of each step."""

    def factor(self, epochs: float) -> float:  # noqa: ARG002 - losses alone decide
        return 1.0

    def reduction(self, losses: Sequence[float]) -> float:
        least, stale, steps = math.inf, 0, 0
        for loss in losses:
            least, stale = (loss, 0) if loss < least else (least, stale + 1)
            if stale == self.patience:
                steps, stale = steps + 1, 0
        return math.pow(self.decay, steps)


ScheduleConfig = Annotated[
    # `trial.schedule.name` chooses one; docs/extending.md adds one.
    ConstantSchedule
    | CosineSchedule
    | LinearSchedule
    | OneCycleSchedule
    | RestartsSchedule
    | StepSchedule
    | ExponentialSchedule
    | PlateauSchedule,
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
