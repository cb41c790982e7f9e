"""The gate's decision; light to import, so that reading one needs neither numpy nor scipy."""

from typing import Self

from pydantic import ConfigDict, Field

from models.config.policies import Verdict
from models.config.trial import Objective
from models.evaluation.records import Interval
from models.record import Record

_DECIDING = ("_shown_better", "new_classes", "no_champion")
"""Ends of the names of rules, one of which is why a challenger that passed them all is better."""


class RuleResult(Record):
    """One rule of the gate and its outcome."""

    rule: str
    """Stable name, such as accuracy_over_majority or f1_macro."""
    passed: bool
    value: float | None = None
    """The measurement."""
    threshold: float | None = None
    """The limit that it was compared with."""
    text: str
    """One sentence for people."""

    @classmethod
    def at_least(cls, rule: str, value: float, threshold: float, *, text: str) -> Self:
        """Pass where the value is not below the threshold."""
        passed = value >= threshold
        return cls(rule=rule, passed=passed, value=value, threshold=threshold, text=text)

    @classmethod
    def at_most(cls, rule: str, value: float, threshold: float, *, text: str) -> Self:
        """Pass where the value is not above the threshold."""
        passed = value <= threshold
        return cls(rule=rule, passed=passed, value=value, threshold=threshold, text=text)


class Comparison(Record):
    """Challenger against champion on the same images; differences are challenger - champion."""

    images: int
    challenger_only: int
    """Images that only the challenger classifies correctly."""
    champion_only: int
    """Images that only the champion classifies correctly."""
    both_right: int
    p_value: float
    """Of the exact McNemar test, two-sided."""
    accuracy: float
    """Difference of accuracies."""
    accuracy_interval: Interval
    """Tango's score interval at the gate's significance."""
    f1_macro: float
    f1_macro_interval: Interval
    """Smoothed Bayesian bootstrap of the images, paired."""
    cross_entropy: float
    """Difference in nats: below 0 the challenger is better."""
    cross_entropy_interval: Interval
    """Paired bootstrap."""
    detectable: float
    """True lead in the metric that a test on these images detects with a power of 80 %."""
    metric: Objective = "accuracy"
    """Score that the challenger must be better in."""
    metric_p_value: float | None = None
    """Of its permutation test, two-sided; None: accuracy, whose test is McNemar's."""


class UnseenImages(Record):
    """Images that came after a version was trained, and selected nothing about it."""

    images: int
    right: int
    """Of these, how many it classifies correctly."""


class GateDecision(Record):
    """The gate's decision on a challenger."""

    model_config = ConfigDict(
        validate_by_name=True, validate_by_alias=True, serialize_by_alias=True
    )

    verdict: Verdict
    rules: tuple[RuleResult, ...] = Field(alias="reasons")
    """Every rule that was checked, in order; `reasons` in mlruns/evidence/."""
    comparison: Comparison | None = None
    """None where there was nothing to compare with."""
    test_digest: str | None = None
    """Digest of the test images' ids."""
    labels_digest: str | None = None
    """Digest of the names of their classes, as labelled then."""
    look: int | None = None
    """Number of this comparison on these test images, from 1."""
    champion_unseen: UnseenImages | None = None
    """Today's train and validation images that the champion never saw; None: there are none, or the
    champion takes images in another form."""

    @property
    def reason(self) -> str:
        """The one reason to say first: the first failed rule, else what showed it to be better."""
        failed = [one.text for one in self.rules if not one.passed]
        deciding = [one.text for one in self.rules if one.rule.endswith(_DECIDING)]
        return [*failed, *deciding, *(one.text for one in reversed(self.rules))][0]

    @property
    def reasons(self) -> tuple[str, ...]:
        """Reasons for the verdict, in sentences: the failed rules; every rule where none failed.

        These, and no others, are shown wherever a verdict is: at the terminal, in JSON documents,
        in the ledger, in MLflow and Prefect, and in notifications.
        """
        failed = tuple(one.text for one in self.rules if not one.passed)
        return failed or tuple(one.text for one in self.rules)
