"""Absolute floors: limits that every challenger must keep, with or without a champion.

Accuracy, macro F1 and recall are held to their lower 95 % bounds: what is seen on a few images may
be luck. The calibration error is held to its estimate, which errs upwards on few images.
"""

from collections.abc import Iterator

from models.config.policies import GateParams
from models.evaluation.outcomes import Outcomes
from models.evaluation.records import ClassScores, PointScores
from models.evaluation.uncertainty.intervals import f1_macro_interval, wilson
from models.gate.inputs import ChampionUnusable, GateInput
from models.gate.paired import tango_interval
from models.gate.records import RuleResult


def check_floors(
    scores: PointScores,
    outcomes: Outcomes,
    challenger: GateInput,
    gate: GateParams,
    *,
    champion: GateInput | ChampionUnusable | None,
) -> tuple[RuleResult, ...]:
    """Check test scores, weights and latency against every floor that is on.

    outcomes: those scored, in canonical order.
    champion: only its latency is looked at, and shown beside the challenger's.
    """
    return (
        _unseen(challenger),
        *_accuracy(scores, gate),
        *_f1_macro(scores, outcomes, gate),
        *_quality(scores, gate),
        *_cost(challenger, champion, gate),
    )


def _unseen(challenger: GateInput) -> RuleResult:
    seen = challenger.trained_on_test
    if seen is None:
        text = "Its training ids are missing: whether it was trained on test images is unknown."
    else:
        text = f"It was trained on {seen} of the test images; only scores on unseen images count."
    return RuleResult(
        rule="unseen_test_images", passed=seen == 0, value=seen, threshold=0, text=text
    )


def check_enough_images(scores: PointScores, gate: GateParams) -> RuleResult:
    """Require test images enough for any verdict but REJECT."""
    least = gate.minimum_test_images
    text = f"The test split has {scores.n:,} images; the minimum is {least:,}"
    if scores.n < least:
        text += ": add images with `pitchpipe data add`, or set gate.minimum_test_images"
    return RuleResult.at_least("minimum_test_images", scores.n, least, text=f"{text}.")


def _accuracy(scores: PointScores, gate: GateParams) -> Iterator[RuleResult]:
    right = sum(scores.confusion.right)
    majority, shown = scores.majority_share, wilson(right, scores.n).low
    least = majority + gate.accuracy_over_majority * (1 - majority)
    # Where one class is most of all, the images that differ say more than all together.
    beyond = max(shown, majority + _lead_over_majority(scores))
    text = (
        f"Test accuracy is {scores.accuracy:.4f}, at least {beyond:.4f} (95 %); always predicting "
        f"the most frequent class gives {majority:.4f}, and the minimum is {least:.4f}."
    )
    yield RuleResult.at_least("accuracy_over_majority", beyond, least, text=text)
    if gate.accuracy is not None:
        text = (
            f"Test accuracy is {scores.accuracy:.4f}, at least {shown:.4f} (95 %); the minimum is "
            f"{gate.accuracy:g}."
        )
        yield RuleResult.at_least("accuracy", shown, gate.accuracy, text=text)


def _lead_over_majority(scores: PointScores) -> float:
    """Lower 95 % bound of the lead over always predicting the most frequent class (Tango)."""
    supports = [one.support for one in scores.per_class]
    largest = supports.index(max(supports))
    right = scores.confusion.right
    gained, lost = sum(right) - right[largest], supports[largest] - right[largest]
    return tango_interval(gained, lost, scores.n, significance=0.05)[0]


def _f1_macro(scores: PointScores, outcomes: Outcomes, gate: GateParams) -> Iterator[RuleResult]:
    if gate.f1_macro is None:
        return
    shown = f1_macro_interval(outcomes, f1_macro=scores.f1_macro).low
    without = f" ({scores.f1_scope})" if scores.absent else ""
    text = (
        f"Macro F1 is {scores.f1_macro:.4f}{without}, at least {shown:.4f} (95 %); the minimum is "
        f"{gate.f1_macro:g}."
    )
    yield RuleResult.at_least("f1_macro", shown, gate.f1_macro, text=text)


def _quality(scores: PointScores, gate: GateParams) -> Iterator[RuleResult]:
    held = [one for one in scores.per_class if one.support >= gate.class_images]
    if gate.class_recall is not None and held:
        worst = min(held, key=_recall_shown)
        shown = _recall_shown(worst)
        text = (
            f"The lowest recall is {worst.recall:.4f}, at least {shown:.4f} (95 %), of class "
            f"{worst.name}; the minimum is {gate.class_recall:g} for classes with at least "
            f"{gate.class_images} test images."
        )
        yield RuleResult.at_least("class_recall", shown, gate.class_recall, text=text)
    if gate.ece is not None:
        text = f"Calibration error is {scores.ece:.4f}; the maximum is {gate.ece:g}."
        yield RuleResult.at_most("ece", scores.ece, gate.ece, text=text)


def _recall_shown(one: ClassScores) -> float:
    """Lower 95 % bound of a class's recall."""
    return wilson(round(one.recall * one.support), one.support).low


def _cost(
    challenger: GateInput, champion: GateInput | ChampionUnusable | None, gate: GateParams
) -> Iterator[RuleResult]:
    most = gate.weights_megabytes
    if most is not None:
        weight = challenger.weights_megabytes
        text = f"Weights are {weight:.1f} MB; the maximum is {most:g} MB."
        yield RuleResult.at_most("weights_megabytes", weight, most, text=text)
    if gate.latency_ms is not None:
        took = challenger.latency_ms
        theirs = champion.latency_ms if isinstance(champion, GateInput) else None
        measured = "was not measured" if took is None else f"is {took:.2f} ms per image"
        beside = "" if theirs is None else f", the champion's {theirs:.2f} ms"
        yield RuleResult(
            rule="latency_ms",
            passed=took is not None and took <= gate.latency_ms,
            value=took,
            threshold=gate.latency_ms,
            text=f"Latency {measured}{beside}; the maximum is {gate.latency_ms:g} ms.",
        )
