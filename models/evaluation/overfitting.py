"""Overfitting of a trial, and what to do: from the gap of its kept weights and its curves."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

from models.config import TrialConfig
from models.evaluation import remedies
from models.evaluation.data_value.records import DataValue
from models.evaluation.generalisation_gap import Difference, GeneralisationGap
from models.evaluation.stopping_criteria import StoppingCriteria, stopping_criteria
from models.trials import EpochRecord

Answer = Literal[
    "fine", "train longer", "more regularisation", "less capacity or more data", "unknown"
]
SIGNIFICANT_GAP, SIGNIFICANT_LOSS_GAP = 0.02, 0.05
"""Least gaps of accuracies and of cross-entropies (nats) that matter, however many images."""
MOST_GENERALISATION_LOSS, MOST_QUOTIENT = 5.0, 3.0
"""Prechelt's GL (per cent) and PQ beyond which the slowest of his criteria stop training."""
UNLIKELY_RISES = 3
"""Rises in a row that are no noise: four values stand in ascending order once in 24 times."""
STILL_FALLING = 0.02
"""Relative fall of the lowest validation loss from which it is still falling."""


@dataclass(frozen=True, slots=True)
class OverfittingDiagnosis:
    """An answer with the numbers it rests on, and with lines for the params."""

    kind: Answer
    text: str
    gap: GeneralisationGap | None = None
    """None: the kept weights were not scored on train."""
    criteria: StoppingCriteria | None = None
    """None: fewer than two epochs."""


def diagnose_overfitting(
    history: Sequence[EpochRecord],
    *,
    kept_epoch: int,
    gap: GeneralisationGap | None,
    config: TrialConfig,
    value: DataValue | None = None,
) -> OverfittingDiagnosis:
    """Judge the kept weights by their gap, and the course of training by Prechelt's criteria.

    history: oldest first;  kept_epoch: of the weights;  config: of the trial;  value: what more
    data would bring, where that was measured.
    Train longer: validation loss is still falling. More regularisation: a gap beyond chance, and
    validation loss has risen. Less capacity or more data: a gap, and it has not risen. Of models
    without a gap at most one in twenty is said to have one: two tests at 2.5 % one-sided.
    """
    if len(history) < 2:
        return OverfittingDiagnosis(
            kind="unknown",
            text=f"Unknown from {len(history)} epoch{'s'[: not history]}: at least two are needed.",
            gap=gap,
        )
    criteria = stopping_criteria(history)
    if gap is None:
        text = "Unknown: the kept weights were not scored on train images."
        return OverfittingDiagnosis(kind="unknown", text=text, criteria=criteria)
    kind = _answer(history, gap, criteria)
    advice = _advice(kind, criteria, kept=kept_epoch, config=config)
    text = f"{_TITLES[kind]} {_scored(gap, kept_epoch)} {_course(criteria)} {advice}{_more(value)}"
    return OverfittingDiagnosis(kind=kind, text=text, gap=gap, criteria=criteria)


_TITLES = {
    "fine": "Fine: no gap between train and validation beyond chance, or one too small to matter.",
    "train longer": "Train longer: validation loss is still falling.",
    "more regularisation": "More regularisation: a gap beyond chance, and validation loss rose.",
    "less capacity or more data": (
        "Less capacity or more data: a gap beyond chance, and validation loss has not risen."
    ),
}


def has_gap(gap: GeneralisationGap) -> bool:
    """Whether accuracy or cross-entropy is worse on validation, beyond chance and so as to matter.

    The whole 95 % interval is above 0, and the gap is at least SIGNIFICANT_GAP, or _LOSS_GAP.
    """
    return any(
        one.low > 0 and one.value >= least
        for one, least in (
            (gap.accuracy, SIGNIFICANT_GAP),
            (gap.cross_entropy, SIGNIFICANT_LOSS_GAP),
        )
    )


def has_risen(criteria: StoppingCriteria) -> bool:
    """Whether validation loss rose after its minimum, by GL or PQ, and by more than noise."""
    beyond = (
        criteria.generalisation_loss > MOST_GENERALISATION_LOSS or criteria.quotient > MOST_QUOTIENT
    )
    return beyond and (criteria.rise > criteria.usual_step or criteria.rises >= UNLIKELY_RISES)


def is_falling(history: Sequence[EpochRecord]) -> bool:
    """Whether validation loss is lowest at the last epoch, by STILL_FALLING below earlier ones.

    Earlier: before the last five epochs, or the last half of fewer than ten.
    """
    losses = [record.validation_loss for record in history]
    strip = min(max(len(losses) // 2, 1), 5)
    before = min(losses[:-strip])
    return losses[-1] == min(losses) and losses[-1] < before * (1 - STILL_FALLING)


def _answer(
    history: Sequence[EpochRecord], gap: GeneralisationGap, criteria: StoppingCriteria
) -> Answer:
    if is_falling(history):
        return "train longer"
    if not has_gap(gap):
        return "fine"
    return "more regularisation" if has_risen(criteria) else "less capacity or more data"


def _scored(gap: GeneralisationGap, kept: int) -> str:
    train, validation = gap.train, gap.validation
    return (
        f"The weights kept (epoch {kept}), scored again without augmentation and dropout on "
        f"{train.images:,} train and {validation.images:,} validation images: accuracy "
        f"{train.accuracy:.3f} and {validation.accuracy:.3f}, a gap of "
        f"{_difference(gap.accuracy, 100, 1)} points; cross-entropy {train.cross_entropy:.3f} and "
        f"{validation.cross_entropy:.3f} nats, a gap of {_difference(gap.cross_entropy, 1, 3)}."
    )


def _difference(one: Difference, scale: float, digits: int) -> str:
    value = f"{scale * one.value:.{digits}f}"
    if math.isinf(one.low):
        return f"{value} (from one image, so unknown)"
    return f"{value} (95 %: {scale * one.low:.{digits}f} to {scale * one.high:.{digits}f})"


def _course(criteria: StoppingCriteria) -> str:
    lowest, last, rises = criteria.lowest, criteria.last, criteria.rises
    if lowest is last:
        return f"Validation loss is lowest at the last epoch, {last.epoch}: {_loss(last)}."
    rose = f", after {rises} rises in a row" if rises > 1 else ""
    return (
        f"Validation loss was lowest at epoch {lowest.epoch}, {_loss(lowest)}, and is "
        f"{_loss(last)} at the last, {last.epoch}{rose}: generalisation loss GL "
        f"{criteria.generalisation_loss:.1f} %, over training progress PQ {criteria.quotient:.3g} "
        "(Prechelt, 1998)."
    )


def _loss(record: EpochRecord) -> str:
    return f"{record.validation_loss:.3f}"


def _advice(kind: Answer, criteria: StoppingCriteria, *, kept: int, config: TrialConfig) -> str:
    last = criteria.last.epoch
    spared = list(remedies.less_training(config, kept=kept, last=last))
    if kind == "train longer":
        return _params([remedies.more_epochs(last)])
    if kind == "less capacity or more data":
        smaller = _params([*remedies.smaller_networks(config), *remedies.regularisers(config)])
        return f"{smaller} More images: pitchpipe data add."
    if kind == "more regularisation":
        objective = remedies.loss_as_objective(config, kept=kept, lowest=criteria.lowest.epoch)
        return _params([*spared, *objective, *remedies.regularisers(config)])
    if has_risen(criteria) and criteria.last.train_loss > criteria.lowest.train_loss:
        rate = config.optimizer.learning_rate / 3
        return f"Training loss rose, too. {_params([f'trial.optimizer.learning_rate: {rate:.2g}'])}"
    if has_risen(criteria) and spared:
        return f"The epochs after the one kept can be spared. {_params(spared)}"
    return "Nothing to change."


def _more(value: DataValue | None) -> str:
    if value is None:
        return ""
    limit = f" {value.capacity.text}" if value.capacity else ""
    return (
        f" More data is expected to help by {value.gain.points}, with {value.more:,} more train "
        f"images (learning curve of {value.subject}).{limit}"
    )


def _params(lines: Iterable[str]) -> str:
    return f"In the params: {'; '.join(lines)}."
