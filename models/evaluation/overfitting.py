"""Whether a trial learned its training images by heart, read from its two curves."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from statistics import median
from typing import Literal

from models.trials import EpochRecord

TELLING_RISE = 0.1
"""Validation loss that has risen by less than this share since its lowest has not turned."""
TELLING_GAP = 0.02
"""Gap of accuracies below which nobody acts, however many images show it."""
STILL_FALLING = 0.02
"""Validation loss that fell by this share in the last epoch has more to fall."""


@dataclass(frozen=True, slots=True)
class OverfittingVerdict:
    """What the curves say, in words and in the numbers behind them."""

    kind: Literal["none", "gap", "overfitting", "still learning", "unknown"]
    text: str
    gap: float | None = None
    """Training minus validation accuracy at the epoch kept."""
    chance: float | None = None
    """Gap that this many validation images show by chance (two standard errors)."""
    turned: int | None = None
    """Epoch of the lowest validation loss."""


def judge_overfitting(
    history: Sequence[EpochRecord], *, kept_epoch: int, validation_images: int
) -> OverfittingVerdict:
    """Compare training and validation over the epochs, oldest first.

    Overfitting: validation loss has turned and rises while training loss still falls. A gap: it has
    not, but accuracy on training images is higher than chance explains. Training scores are taken
    while weights move, so early gaps look smaller than they are.
    """
    if len(history) < 2:
        return OverfittingVerdict(
            kind="unknown",
            text=f"Not to be seen from {len(history)} epoch{'s'[: not history]}: two are needed.",
        )
    kept = next((record for record in history if record.epoch == kept_epoch), history[-1])
    turned = min(history, key=lambda record: record.validation_loss)
    gap = kept.train_accuracy - kept.validation_accuracy
    chance = 2 * _standard_error(kept.validation_accuracy, validation_images)
    kind = _kind_of(history, turned, gap=gap, chance=chance)
    text = _SAYINGS[kind].format(kept=kept, turned=turned, last=history[-1], gap=100 * gap)
    return OverfittingVerdict(kind=kind, text=text, gap=gap, chance=chance, turned=turned.epoch)


def _kind_of(
    history: Sequence[EpochRecord], turned: EpochRecord, *, gap: float, chance: float
) -> Literal["none", "gap", "overfitting", "still learning"]:
    last, before = history[-1], history[-2]
    rise = last.validation_loss - turned.validation_loss
    rises = rise > max(TELLING_RISE * turned.validation_loss, _usual_step(history))
    if rises and last.train_loss < turned.train_loss:
        return "overfitting"
    if gap > max(chance, TELLING_GAP):
        return "gap"
    if last.validation_loss < before.validation_loss * (1 - STILL_FALLING) and last is turned:
        return "still learning"
    return "none"


_SAYINGS = {
    "overfitting": (
        "Overfitting from epoch {turned.epoch} on: validation loss rose from "
        "{turned.validation_loss:.3f} to {last.validation_loss:.3f} while training loss went on "
        "falling. The weights kept are those of epoch {kept.epoch}."
    ),
    "gap": (
        "Some overfitting: at epoch {kept.epoch} it is {gap:.1f} points better on the images it "
        "trained on than on validation, more than chance explains; validation loss has not turned."
    ),
    "still learning": (
        "No overfitting: validation loss was still falling at the last epoch ({last.epoch}). "
        "A larger search.epochs may help."
    ),
    "none": (
        "No overfitting to be seen: at epoch {kept.epoch} training and validation accuracy are "
        "{gap:+.1f} points apart, which is within chance or too little to matter."
    ),
}


def _usual_step(history: Sequence[EpochRecord]) -> float:
    """Median change of validation loss from one epoch to the next: a rise within it is noise."""
    losses = [record.validation_loss for record in history]
    return median(abs(after - before) for before, after in pairwise(losses))


def _standard_error(accuracy: float, images: int) -> float:
    """Of a share, with two right and two wrong added so that 0 and 1 are not certain."""
    share = (accuracy * images + 2) / (images + 4)
    return math.sqrt(share * (1 - share) / (images + 4))
