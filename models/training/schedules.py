"""Learning-rate schedules: pure functions of the step."""

import math

from models.config.trial import ScheduleConfig


def learning_rate_factor(schedule: ScheduleConfig, step: int, *, steps_per_epoch: int) -> float:
    """Factor in [0, 1] on the learning rate at an optimiser step, counted from 0 over all epochs.

    cosine: half a period from 1 down to 0 over the horizon (Loshchilov & Hutter, 2017, no restart);
    it stays 0 after.
    """
    if schedule.horizon is None:
        return 1.0
    progress = min(step / (schedule.horizon * steps_per_epoch), 1.0)
    return 0.5 * (1 + math.cos(math.pi * progress))
