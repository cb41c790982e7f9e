"""Absolute floors: what no challenger may fall below, champion or none."""

from collections.abc import Iterator

from models.config.policies import GateParams
from models.evaluation.records import PointScores
from models.gate.records import GateInput, Reason


def floors(scores: PointScores, challenger: GateInput, gate: GateParams) -> tuple[Reason, ...]:
    """Hold test scores, weights and latency against the floors that are on, all of them."""
    return (
        _unseen(challenger),
        *_accuracy(scores, gate),
        *_quality(scores, gate),
        *_cost(challenger, gate),
    )


def _unseen(challenger: GateInput) -> Reason:
    seen = challenger.trained_on_test
    if seen is None:
        text = (
            "It is not known whether it was trained on test images: its training ids are missing."
        )
    else:
        text = f"It was trained on {seen} of the test images; scores count on unseen ones only."
    return Reason(rule="unseen_test_images", passed=seen == 0, value=seen, threshold=0, text=text)


def _accuracy(scores: PointScores, gate: GateParams) -> Iterator[Reason]:
    majority = scores.majority_share
    least = majority + gate.accuracy_over_majority * (1 - majority)
    yield _at_least(
        "accuracy_over_majority",
        scores.accuracy,
        least,
        text=f"Test accuracy is {scores.accuracy:.4f}; always naming the most frequent class would "
        f"give {majority:.4f}, and at least {least:.4f} is asked.",
    )
    if gate.accuracy is not None:
        yield _at_least(
            "accuracy",
            scores.accuracy,
            gate.accuracy,
            text=f"Test accuracy is {scores.accuracy:.4f}; at least {gate.accuracy:g} is asked.",
        )


def _quality(scores: PointScores, gate: GateParams) -> Iterator[Reason]:
    if gate.f1_macro is not None:
        yield _at_least(
            "f1_macro",
            scores.f1_macro,
            gate.f1_macro,
            text=f"Macro F1 is {scores.f1_macro:.4f}; at least {gate.f1_macro:g} is asked.",
        )
    held = [one for one in scores.per_class if one.support >= gate.class_images]
    if gate.class_recall is not None and held:
        worst = min(held, key=lambda one: one.recall)
        yield _at_least(
            "class_recall",
            worst.recall,
            gate.class_recall,
            text=f"The lowest recall is {worst.recall:.4f}, of {worst.name}; at least "
            f"{gate.class_recall:g} is asked of each class with {gate.class_images} test images.",
        )
    if gate.ece is not None:
        yield _at_most(
            "ece",
            scores.ece,
            gate.ece,
            text=f"Calibration error is {scores.ece:.4f}; at most {gate.ece:g} is allowed.",
        )


def _cost(challenger: GateInput, gate: GateParams) -> Iterator[Reason]:
    if gate.weights_megabytes is not None:
        weight = challenger.weights_megabytes
        yield _at_most(
            "weights_megabytes",
            weight,
            gate.weights_megabytes,
            text=f"Weights are {weight:.1f} MB; at most {gate.weights_megabytes:g} MB are allowed.",
        )
    if gate.latency_ms is not None:
        took, most = challenger.latency_ms, gate.latency_ms
        measured = "was not measured" if took is None else f"is {took:.2f} ms an image"
        text = f"Latency {measured}; at most {most:g} ms are allowed."
        passed = took is not None and took <= most
        yield Reason(rule="latency_ms", passed=passed, value=took, threshold=most, text=text)


def _at_least(rule: str, value: float, least: float, *, text: str) -> Reason:
    return Reason(rule=rule, passed=value >= least, value=value, threshold=least, text=text)


def _at_most(rule: str, value: float, most: float, *, text: str) -> Reason:
    return Reason(rule=rule, passed=value <= most, value=value, threshold=most, text=text)
