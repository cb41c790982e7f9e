"""Overfitting of a trial, diagnosed from its training and validation curves."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from statistics import median
from typing import Literal

from models.trials import EpochRecord

SIGNIFICANT_RISE = 0.1
"""Least relative rise of validation loss above its minimum that counts as a turn."""
SIGNIFICANT_GAP = 0.02
"""Least gap of accuracies that matters, however many images there are."""
STILL_FALLING = 0.02
"""Relative fall of validation loss in the last epoch from which it is still falling."""


@dataclass(frozen=True, slots=True)
class OverfittingDiagnosis:
    """Diagnosis of the curves, in words and numbers."""

    kind: Literal["none", "gap", "overfitting", "still learning", "unknown"]
    text: str
    gap: float | None = None
    """Training minus validation accuracy at the kept epoch."""
    chance: float | None = None
    """Gap within chance for this many validation images (two standard errors)."""
    turned: int | None = None
    """Epoch of the lowest validation loss."""


def diagnose_overfitting(
    history: Sequence[EpochRecord], *, kept_epoch: int, validation_images: int
) -> OverfittingDiagnosis:
    """Compare training and validation over the epochs, oldest first.

    Overfitting: validation loss has turned and rises while training loss still falls. Gap: it has
    not turned, but training accuracy is higher than chance explains. Training scores are averages
    over the epoch, so early gaps look smaller than they are.
    """
    if len(history) < 2:
        return OverfittingDiagnosis(
            kind="unknown",
            text=f"Unknown from {len(history)} epoch{'s'[: not history]}: at least two are needed.",
        )
    kept = next((record for record in history if record.epoch == kept_epoch), history[-1])
    turned = min(history, key=lambda record: record.validation_loss)
    gap = kept.train_accuracy - kept.validation_accuracy
    chance = 2 * _standard_error(kept.validation_accuracy, validation_images)
    kind = _kind_of(history, turned, gap=gap, chance=chance)
    text = _TEXTS[kind].format(kept=kept, turned=turned, last=history[-1], gap=100 * gap)
    return OverfittingDiagnosis(kind=kind, text=text, gap=gap, chance=chance, turned=turned.epoch)


def _kind_of(
    history: Sequence[EpochRecord], turned: EpochRecord, *, gap: float, chance: float
) -> Literal["none", "gap", "overfitting", "still learning"]:
    last, before = history[-1], history[-2]
    rise = last.validation_loss - turned.validation_loss
    rises = rise > max(SIGNIFICANT_RISE * turned.validation_loss, _usual_step(history))
    if rises and last.train_loss < turned.train_loss:
        return "overfitting"
    if gap > max(chance, SIGNIFICANT_GAP):
        return "gap"
    if last.validation_loss < before.validation_loss * (1 - STILL_FALLING) and last is turned:
        return "still learning"
    return "none"


_TEXTS = {
    "overfitting": (
        "Overfitting from epoch {turned.epoch} on: validation loss rose from "
        "{turned.validation_loss:.3f} to {last.validation_loss:.3f} while training loss went on "
        "falling. The weights kept are those of epoch {kept.epoch}."
    ),
    "gap": (
        "Some overfitting: at epoch {kept.epoch} training accuracy is {gap:.1f} points above "
        "validation accuracy, more than chance explains; validation loss has not turned."
    ),
    "still learning": (
        "No overfitting: validation loss was still falling at the last epoch ({last.epoch}). "
        "A larger search.epochs may help."
    ),
    "none": (
        "No overfitting: at epoch {kept.epoch} training and validation accuracy are "
        "{gap:+.1f} points apart, within chance or too little to matter."
    ),
}


def _usual_step(history: Sequence[EpochRecord]) -> float:
    """Median change of validation loss between epochs: a smaller rise is noise."""
    losses = [record.validation_loss for record in history]
    return median(abs(after - before) for before, after in pairwise(losses))


def _standard_error(accuracy: float, images: int) -> float:
    """Standard error of a share, with two right and two wrong added (Agresti & Coull, 1998)."""
    share = (accuracy * images + 2) / (images + 4)
    return math.sqrt(share * (1 - share) / (images + 4))
