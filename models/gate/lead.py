"""Whether the challenger is better: by the metric of the gate, at the level of the look."""

from models.config.policies import GateParams
from models.gate.budget import level_of
from models.gate.records import Comparison, RuleResult


def check_lead(comparison: Comparison, gate: GateParams, *, look: int) -> tuple[RuleResult, ...]:
    """Require a lead in the metric that is significant and large enough to matter."""
    lead, least = _lead(comparison), gate.minimum_effect
    if comparison.metric == "accuracy":
        text = f"Accuracy differs by {100 * lead:+.2f} points; the minimum is {100 * least:+.2f}."
    elif comparison.metric == "f1_macro":
        text = f"Macro F1 differs by {lead:+.4f}; the minimum is {least:+g}."
    else:
        text = f"Cross-entropy differs by {-lead:+.4f} nats; the maximum is {-least:+g}."
    return (
        _shown_better(comparison, gate, look),
        RuleResult.at_least("minimum_effect", lead, least, text=text),
    )


def significantly(significant: bool) -> str:  # noqa: FBT001 - one fact, in one word or two
    """Say a test's result in words."""
    return "significantly" if significant else "not significantly"


def _lead(comparison: Comparison) -> float:
    """Lead of the challenger in the metric, above 0 where it is better."""
    if comparison.metric == "cross_entropy":
        return -comparison.cross_entropy
    return comparison.accuracy if comparison.metric == "accuracy" else comparison.f1_macro


def _shown_better(comparison: Comparison, gate: GateParams, look: int) -> RuleResult:
    # Either side of a two-sided test at twice a level is a one-sided test at the level.
    most = 2 * level_of(look, gate)
    p_value = comparison.p_value if comparison.metric_p_value is None else comparison.metric_p_value
    better = _lead(comparison) > 0 and p_value <= most
    return RuleResult(
        rule=f"{comparison.metric}_shown_better",
        passed=better,
        value=p_value,
        threshold=most,
        text=f"{_what_was_seen(comparison, better=better)}, p = {p_value:.2g}; the maximum is "
        f"{most:.2g} at look {look:,} of {gate.looks:,} on these test images). "
        f"{_what_can_be_shown(comparison, gate, look)}",
    )


def _what_was_seen(comparison: Comparison, *, better: bool) -> str:
    """Begin the sentence of the test, up to its name in brackets."""
    if comparison.metric == "f1_macro":
        return (
            f"Macro F1 is {significantly(better)} better (predictions exchanged image by image at "
            "random"
        )
    if comparison.metric == "cross_entropy":
        return (
            f"Cross-entropy is {significantly(better)} better (losses exchanged image by image at "
            "random"
        )
    return (
        f"The challenger alone is right on {comparison.challenger_only:,} images, the champion "
        f"alone on {comparison.champion_only:,}: accuracy is {significantly(better)} better (exact "
        "McNemar test"
    )


def _what_can_be_shown(comparison: Comparison, gate: GateParams, look: int) -> str:
    if look > gate.looks:
        return (
            "They have judged as many challengers as gate.looks allows: add images with `pitchpipe "
            "data add`, some of which go to test."
        )
    lead = {
        "accuracy": f"{100 * comparison.detectable:.2g} points",
        "f1_macro": f"{comparison.detectable:.2g}",
        "cross_entropy": f"{comparison.detectable:.2g} nats",
    }[comparison.metric]
    return (
        f"On {comparison.images:,} of them a true lead of {lead} is detected with a power of 80 %."
    )
