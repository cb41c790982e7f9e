"""A champion that lacks classes of today's data: what its challenger must show instead of a lead.

Who knows a class more is of more use, and has the harder task with the others. So the two are
compared on the images of the classes that both know, where nothing may be lost, and the new classes
must be found.
"""

from collections.abc import Sequence

import numpy as np

from models.config.policies import GateParams
from models.evaluation.outcomes import Outcomes
from models.evaluation.uncertainty.intervals import wilson
from models.gate.class_guard import named
from models.gate.records import Comparison, RuleResult


def check_new_classes(
    outcomes: Outcomes,
    comparison: Comparison,
    gate: GateParams,
    *,
    classes: Sequence[str],
    unknown: Sequence[str],
) -> tuple[RuleResult, ...]:
    """Require that the shared classes are kept as a whole and that each new one is found.

    outcomes: of the challenger, on all test images; comparison: on those of the shared classes.
    classes: names of the columns; unknown: those that the champion lacks.
    """
    told = RuleResult(
        rule="new_classes",
        passed=True,
        text=f"The champion does not know {named(unknown)}: the two are compared on the "
        f"{comparison.images:,} test images of the classes that both know, where nothing may be "
        "lost; no lead is asked for.",
    )
    recalls = () if gate.new_class_recall is None else _recalls(outcomes, gate, classes, unknown)
    return (told, _shared_accuracy(comparison, gate), *recalls)


def _shared_accuracy(comparison: Comparison, gate: GateParams) -> RuleResult:
    low, margin = comparison.accuracy_interval.low, gate.class_recall_margin
    shown = "shown" if low >= -margin else "not shown"
    text = (
        f"Accuracy on these is {shown} to be at most {100 * margin:g} points worse: "
        f"{comparison.accuracy:+.4f}, at least {low:+.4f}."
    )
    return RuleResult.at_least("shared_accuracy_kept", low, -margin, text=text)


def _recalls(
    outcomes: Outcomes, gate: GateParams, classes: Sequence[str], unknown: Sequence[str]
) -> Sequence[RuleResult]:
    """Those of the new classes that fail; where none does, the lowest."""
    least = gate.new_class_recall or 0.0
    results = []
    for label in sorted(map(list(classes).index, unknown)):
        of = outcomes.labels == label
        right, images = int(np.sum(outcomes.right & of)), int(of.sum())
        results.append(_recall(classes[label], right, images, least=least, gate=gate))
    lowest = min(results, key=lambda one: 1.0 if one.value is None else one.value)
    return [one for one in results if not one.passed] or [lowest]


def _recall(name: str, right: int, images: int, *, least: float, gate: GateParams) -> RuleResult:
    """Hold the lower 95 % bound of a new class; of one with few images what is seen."""
    if images == 0:
        text = f"The test split has no images of the new class {name}."
        return RuleResult(rule="new_class_recall", passed=True, threshold=least, text=text)
    few = images < gate.class_images
    value = right / images if few else wilson(right, images).low
    said = "too few to say more" if few else f"at least {value:.4f} (95 %)"
    text = (
        f"Recall of the new class {name} is {right / images:.4f} on {images:,} images, {said}; the "
        f"minimum is {least:g}."
    )
    return RuleResult.at_least("new_class_recall", value, least, text=text)
