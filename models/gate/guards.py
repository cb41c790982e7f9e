"""Guards: what must not be lost where accuracy is gained, and which loss could have passed."""

from models.config.policies import GateParams
from models.evaluation.records import Interval
from models.gate.class_guard import check_classes_kept, check_classes_not_worse
from models.gate.comparison import Pair
from models.gate.lead import significantly
from models.gate.records import Comparison, RuleResult


def check_harm(pair: Pair, comparison: Comparison, gate: GateParams) -> tuple[RuleResult, ...]:
    """Require that nothing is significantly worse than its margin: a failed rule rejects."""
    return (
        _accuracy_not_worse(comparison, gate.significance),
        _f1_not_worse(comparison, gate.f1_macro_margin),
        _cross_entropy_not_worse(comparison, gate.cross_entropy_margin),
        check_classes_not_worse(pair, gate),
    )


def check_kept(pair: Pair, comparison: Comparison, gate: GateParams) -> tuple[RuleResult, ...]:
    """Require that nothing is worse than its margin as observed, and no class unless shown: holds.

    Macro F1 and cross-entropy are asked on the whole split, for a loss that is observed: intervals
    of a few thousand images are wider than their margins.
    """
    return (
        RuleResult.at_least(
            "f1_macro_within_margin",
            comparison.f1_macro,
            -gate.f1_macro_margin,
            text=f"Macro F1 differs by {comparison.f1_macro:+.4f}; the minimum is "
            f"{-gate.f1_macro_margin:+g}.",
        ),
        RuleResult.at_most(
            "cross_entropy_within_margin",
            comparison.cross_entropy,
            gate.cross_entropy_margin,
            text=f"Cross-entropy differs by {comparison.cross_entropy:+.4f} nats; the maximum is "
            f"{gate.cross_entropy_margin:+g}.",
        ),
        check_classes_kept(pair, gate),
    )


def _accuracy_not_worse(comparison: Comparison, significance: float) -> RuleResult:
    worse = comparison.accuracy < 0 and comparison.p_value <= significance
    interval = comparison.accuracy_interval
    return RuleResult(
        rule="accuracy_not_worse",
        passed=not worse,
        value=comparison.p_value,
        threshold=significance,
        text=f"Accuracy is {significantly(worse)} worse (exact McNemar test): "
        f"{_span(comparison.accuracy, interval)}; {_undetected(-interval.low)}.",
    )


def _f1_not_worse(comparison: Comparison, margin: float) -> RuleResult:
    interval = comparison.f1_macro_interval
    text = (
        f"Macro F1 is {significantly(interval.high < -margin)} more than {margin:g} worse: "
        f"{_span(comparison.f1_macro, interval)}; {_undetected(-interval.low)}."
    )
    return RuleResult.at_least("f1_macro_not_worse", interval.high, -margin, text=text)


def _cross_entropy_not_worse(comparison: Comparison, margin: float) -> RuleResult:
    interval = comparison.cross_entropy_interval
    text = (
        f"Cross-entropy is {significantly(interval.low > margin)} more than {margin:g} nats "
        f"worse: {_span(comparison.cross_entropy, interval)}; {_undetected(interval.high)}."
    )
    return RuleResult.at_most("cross_entropy_not_worse", interval.low, margin, text=text)


def _span(value: float, interval: Interval) -> str:
    return f"{value:+.4f} ({interval.low:+.4f} to {interval.high:+.4f})"


def _undetected(loss: float) -> str:
    """Say which loss the images do not exclude."""
    return f"a loss of {loss:.4f} could have passed" if loss > 0 else "a loss is excluded"
