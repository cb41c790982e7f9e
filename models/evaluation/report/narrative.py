"""Sentences of the report about the selection and the mistakes."""

from collections.abc import Sequence
from dataclasses import dataclass

from models.config import TrialConfig
from models.evaluation.records import Calibration, PointScores
from models.evaluation.report.report_input import LeaderboardRow, Selection
from models.search.confirmation import describe_confirmation

_OBJECTIVES = {
    "accuracy": "accuracy",
    "f1_macro": "macro F1",
    "cross_entropy": "cross-entropy",
}


@dataclass(frozen=True, slots=True)
class Confusion:
    """Images of one class predicted as another."""

    true: str
    predicted: str
    images: int
    share: float
    """Among the images of the true class."""


def describe_start(config: TrialConfig, parent: str | None) -> str:
    """Say with whose weights training began; empty for new ones."""
    start = config.begins_with
    if start is None:
        return ""
    layers = "all layers" if start.kept == "all" else "all layers but the head"
    normalised = "" if start.mean is None else "; images are normalised by its mean and deviation"
    return f"Training began with the weights of {parent or start.origin}: {layers}{normalised}."


def explain_selection(selection: Selection) -> str:
    """Describe which trial was selected, by which score, and from whom it is told apart."""
    rows = [row for row in selection.leaderboard if row.scores is not None]
    name = _OBJECTIVES[selection.objective]
    if not rows:
        return "No trial has scores on validation."
    if len(rows) == 1:
        return (
            f"The only trial with scores: validation {name} {_objective(rows[0], selection):.4f}."
        )
    text = _chosen(rows, selection)
    if (distinction := selection.distinction) is not None:
        text += f" {distinction.sentence[0].upper()}{distinction.sentence[1:]}."
    optimism = selection.optimism
    return text if optimism is None else f"{text} Estimated {optimism.sentence}."


def _chosen(rows: Sequence[LeaderboardRow], selection: Selection) -> str:
    """Say by what the first of several rows was selected."""
    if selection.confirmation:
        said = describe_confirmation(selection.confirmation, selection.objective)
        return f"Of {len(rows)} trials {said}."
    best, second = (_objective(row, selection) for row in rows[:2])
    name = _OBJECTIVES[selection.objective]
    text = f"Best of {len(rows)} trials by validation {name}: {best:.4f}, the next {second:.4f}."
    return f"{text} The tie went to {_tie_breaker(rows)}." if best == second else text


def most_confused(scores: PointScores, most: int) -> tuple[Confusion, ...]:
    """Most frequent confusions, most images first."""
    classes = scores.per_class
    pairs = [
        Confusion(
            classes[true].name, classes[predicted].name, images, images / classes[true].support
        )
        for true, predicted, images in scores.confusion.cells
        if true != predicted
    ]
    return tuple(sorted(pairs, key=lambda pair: (-pair.images, pair.true, pair.predicted))[:most])


def describe_mistakes(scores: PointScores) -> str:
    """Describe how many images are wrong, the most frequent confusion and the weakest class."""
    wrong = scores.confusion.wrong
    if wrong == 0:
        return f"None: all test images are right ({scores.n:,})."
    worst = most_confused(scores, 1)[0]
    if worst.images == 1:
        often = "No class is predicted as another more than once"
    else:
        often = (
            f"Most often {worst.true} is predicted as {worst.predicted} ({worst.images:,} times, "
            f"{100 * worst.share:.1f} % of its images)"
        )
    weakest = min((one for one in scores.per_class if one.support), key=lambda one: one.recall)
    return (
        f"{wrong:,} of {scores.n:,} test images {'is' if wrong == 1 else 'are'} wrong. {often}; "
        f"the lowest recall has {weakest.name} ({100 * weakest.recall:.1f} %)."
    )


def describe_temperature(calibration: Calibration | None, scores: PointScores) -> str:
    """Describe what calibration changed on test; empty where nothing was calibrated."""
    if calibration is None:
        return ""
    return (
        f"Logits are divided by {calibration.temperature:.3f}, fitted on {calibration.images:,} "
        f"validation images: the calibration error was {calibration.uncalibrated_ece:.3f} without "
        f"it and is {scores.ece:.3f}, the cross-entropy was "
        f"{calibration.uncalibrated_cross_entropy:.4f} and is {scores.cross_entropy:.4f}."
    )


def _objective(row: LeaderboardRow, selection: Selection) -> float:
    return float(getattr(row.scores, selection.objective))


def _tie_breaker(rows: Sequence[LeaderboardRow]) -> str:
    """What decided between the first two rows, which are equal in the objective."""
    losses = [row.scores.cross_entropy for row in rows[:2] if row.scores is not None]
    return "the earlier trial" if len(set(losses)) == 1 else "the lower cross-entropy"
