"""Absolute floors: limits that every challenger must keep, with or without a champion."""

from collections.abc import Iterator

from models.config.policies import GateParams
from models.evaluation.records import PointScores
from models.gate.inputs import ChampionUnusable, GateInput
from models.gate.records import RuleResult


def check_floors(
    scores: PointScores,
    challenger: GateInput,
    gate: GateParams,
    *,
    champion: GateInput | ChampionUnusable | None,
) -> tuple[RuleResult, ...]:
    """Check test scores, weights and latency against every floor that is on.

    champion: only its latency is looked at, and shown beside the challenger's.
    """
    return (
        _unseen(challenger),
        *_accuracy(scores, gate),
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


def _accuracy(scores: PointScores, gate: GateParams) -> Iterator[RuleResult]:
    majority = scores.majority_share
    least = majority + gate.accuracy_over_majority * (1 - majority)
    text = (
        f"Test accuracy is {scores.accuracy:.4f}; always predicting the most frequent class gives "
        f"{majority:.4f}, and the minimum is {least:.4f}."
    )
    yield RuleResult.at_least("accuracy_over_majority", scores.accuracy, least, text=text)
    if gate.accuracy is not None:
        text = f"Test accuracy is {scores.accuracy:.4f}; the minimum is {gate.accuracy:g}."
        yield RuleResult.at_least("accuracy", scores.accuracy, gate.accuracy, text=text)


def _quality(scores: PointScores, gate: GateParams) -> Iterator[RuleResult]:
    if gate.f1_macro is not None:
        text = f"Macro F1 is {scores.f1_macro:.4f}; the minimum is {gate.f1_macro:g}."
        yield RuleResult.at_least("f1_macro", scores.f1_macro, gate.f1_macro, text=text)
    held = [one for one in scores.per_class if one.support >= gate.class_images]
    if gate.class_recall is not None and held:
        worst = min(held, key=lambda one: one.recall)
        text = (
            f"The lowest recall is {worst.recall:.4f}, of class {worst.name}; the minimum is "
            f"{gate.class_recall:g} for classes with at least {gate.class_images} test images."
        )
        yield RuleResult.at_least("class_recall", worst.recall, gate.class_recall, text=text)
    if gate.ece is not None:
        text = f"Calibration error is {scores.ece:.4f}; the maximum is {gate.ece:g}."
        yield RuleResult.at_most("ece", scores.ece, gate.ece, text=text)


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
