"""Prechelt's criteria for when training should have stopped, computed from a trial's epochs.

Prechelt (1998), "Early stopping - but when?", in: Neural Networks: Tricks of the Trade, LNCS 1524.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise, takewhile
from statistics import fmean, median

from models.trials import EpochRecord

STRIP = 5
"""Epochs over which training progress is measured, as in the paper; of fewer, all."""


@dataclass(frozen=True, slots=True)
class StoppingCriteria:
    """The criteria at the last epoch."""

    lowest: EpochRecord
    """Epoch of the lowest validation loss; of equal ones the first."""
    last: EpochRecord
    generalisation_loss: float
    """GL: per cent by which validation loss lies above its minimum; >= 0, inf above 0."""
    training_progress: float
    """P: per mille by which mean training loss of the last strip lies above its minimum; >= 0."""
    rises: int
    """Epochs in a row, up to the last, in each of which validation loss rose."""
    usual_step: float
    """Median change of validation loss from epoch to epoch, nats: a smaller rise is noise."""

    @property
    def quotient(self) -> float:
        """PQ: generalisation loss over training progress; inf where training stands still."""
        if self.generalisation_loss == 0 or math.isinf(self.training_progress):
            return 0.0
        if self.training_progress == 0:
            return math.inf
        return self.generalisation_loss / self.training_progress

    @property
    def rise(self) -> float:
        """Validation loss at the last epoch above its minimum, nats."""
        return self.last.validation_loss - self.lowest.validation_loss


def stopping_criteria(history: Sequence[EpochRecord]) -> StoppingCriteria:
    """Compute the criteria from at least two epochs, oldest first.

    Losses are those of the history: of training while the weights change, with augmentation and
    dropout. Raises ValueError for fewer epochs.
    """
    if len(history) < 2:
        raise ValueError(f"{len(history)} epochs: the criteria need at least two")
    lowest = min(history, key=lambda record: record.validation_loss)
    steps = [after.validation_loss - before.validation_loss for before, after in pairwise(history)]
    training = [record.train_loss for record in history[-STRIP:]]
    return StoppingCriteria(
        lowest=lowest,
        last=history[-1],
        generalisation_loss=100 * _excess(history[-1].validation_loss, lowest.validation_loss),
        training_progress=1000 * _excess(fmean(training), min(training)),
        rises=len(list(takewhile(lambda step: step > 0, reversed(steps)))),
        usual_step=median(map(abs, steps)),
    )


def _excess(value: float, least: float) -> float:
    """Share by which a value lies above the least one; rounding may make a mean lie below."""
    if least == 0:
        return math.inf if value > 0 else 0.0
    return max(value / least - 1, 0.0)
