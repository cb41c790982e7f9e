"""Learning-rate schedules: pure functions of the step."""

import math

from models.config.trial import CosineSchedule, ExponentialSchedule, ScheduleConfig, StepSchedule


def learning_rate_factor(schedule: ScheduleConfig, step: int, *, steps_per_epoch: int) -> float:
    """Factor in [0, 1] on the learning rate at an optimiser step, counted from 0 over all epochs.

    The warm-up multiplies what the schedule says at that step, and first reaches 1 at its end.
    """
    warmup = schedule.warmup * steps_per_epoch
    risen = min((step + 1) / warmup, 1.0) if warmup else 1.0
    return risen * _shape(schedule, step / steps_per_epoch)


def _shape(schedule: ScheduleConfig, epochs: float) -> float:
    """Factor after so many epochs and parts of one."""
    if isinstance(schedule, CosineSchedule):
        return 0.5 * (1 + math.cos(math.pi * min(epochs / schedule.horizon, 1.0)))
    if isinstance(schedule, StepSchedule):
        return math.pow(schedule.decay, math.floor(epochs / schedule.every))
    if isinstance(schedule, ExponentialSchedule):
        return math.pow(schedule.decay, epochs)
    return 1.0
