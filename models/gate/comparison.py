"""Challenger against champion on the same images: statistics, and whether it is better."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from models.config.policies import GateParams
from models.evaluation.bootstrap import drawn_f1_macro, resampled_means
from models.evaluation.intervals import holding
from models.evaluation.outcomes import Floats, Integers, Outcomes, seed_of
from models.evaluation.records import Interval
from models.evaluation.scores import f1_macro
from models.gate.budget import level_of
from models.gate.paired import (
    detectable_lead,
    mcnemar_p,
    quantiles,
    tango_interval,
)
from models.gate.records import Comparison, RuleResult


@dataclass(frozen=True, slots=True)
class Pair:
    """Predictions of both for the same n images, sorted by value, whatever the input order."""

    labels: Integers
    challenger: Integers
    """(n,) classes predicted by the challenger."""
    champion: Integers
    """(n,) classes predicted by the champion."""
    excess_loss: Floats
    """(n,) loss of the challenger minus the champion's, nats."""
    names: tuple[str, ...]
    """Of the classes."""

    @property
    def classes(self) -> int:
        """Number of classes."""
        return len(self.names)

    def only_right(self, one: Integers, other: Integers) -> Integers:
        """Count, for each class, the images that only the first of the two classifies correctly."""
        alone = (one == self.labels) & (other != self.labels)
        return np.bincount(self.labels[alone], minlength=self.classes)


def pair_of(challenger: Outcomes, champion: Outcomes, *, names: tuple[str, ...]) -> Pair:
    """Join the outcomes of the same images, image by image."""
    excess = challenger.losses - champion.losses
    keys = (excess, champion.predicted, challenger.predicted, challenger.labels)
    order = np.lexsort(keys)
    return Pair(
        labels=challenger.labels[order],
        challenger=challenger.predicted[order],
        champion=champion.predicted[order],
        excess_loss=excess[order],
        names=names,
    )


def compare(pair: Pair, gate: GateParams, *, look: int) -> Comparison:
    """Compare the pair; the bootstrap is seeded by the pair, so equal pairs give equal results.

    look: number of this comparison on these images, from 1; it fixes what can be detected.
    """
    images = len(pair.labels)
    ahead = int(pair.only_right(pair.challenger, pair.champion).sum())
    behind = int(pair.only_right(pair.champion, pair.challenger).sum())
    drawn, loss = _resampled(pair, gate)
    f1 = f1_macro(pair.labels, pair.challenger) - f1_macro(pair.labels, pair.champion)
    significance = gate.significance
    return Comparison(
        images=images,
        challenger_only=ahead,
        champion_only=behind,
        both_right=int(np.sum(pair.challenger == pair.labels)) - ahead,
        p_value=mcnemar_p(ahead, behind),
        accuracy=(ahead - behind) / images,
        accuracy_interval=_interval(
            tango_interval(ahead, behind, images, significance=significance)
        ),
        f1_macro=f1,
        f1_macro_interval=holding(_interval(quantiles(drawn, significance)), f1),
        cross_entropy=float(pair.excess_loss.mean()),
        cross_entropy_interval=_interval(quantiles(loss, significance)),
        detectable=detectable_lead(
            images, (ahead + behind) / images, significance=2 * level_of(look, gate)
        ),
    )


def check_lead(comparison: Comparison, gate: GateParams, *, look: int) -> tuple[RuleResult, ...]:
    """Require a lead in accuracy that is significant and large enough to matter."""
    lead, least = comparison.accuracy, gate.minimum_effect
    text = f"Accuracy differs by {100 * lead:+.2f} points; the minimum is {100 * least:+.2f}."
    return (
        _accuracy_better(comparison, gate, look),
        RuleResult.at_least("minimum_effect", lead, least, text=text),
    )


def _accuracy_better(comparison: Comparison, gate: GateParams, look: int) -> RuleResult:
    # Either side of a two-sided test at twice a level is a one-sided test at the level.
    most = 2 * level_of(look, gate)
    better = comparison.accuracy > 0 and comparison.p_value <= most
    return RuleResult(
        rule="accuracy_shown_better",
        passed=better,
        value=comparison.p_value,
        threshold=most,
        text=f"The challenger alone is right on {comparison.challenger_only:,} images, the "
        f"champion alone on {comparison.champion_only:,}: accuracy is {significantly(better)} "
        f"better (exact McNemar test, p = {comparison.p_value:.2g}; the maximum is "
        f"{most:.2g} at look {look:,} of {gate.looks:,} on these test images). "
        f"{_what_can_be_shown(comparison, gate, look)}",
    )


def _what_can_be_shown(comparison: Comparison, gate: GateParams, look: int) -> str:
    if look > gate.looks:
        return (
            "They have judged as many challengers as gate.looks allows: add images with `pitchpipe "
            "data add`, some of which go to test."
        )
    return (
        f"On {comparison.images:,} of them a true lead of {100 * comparison.detectable:.2g} points "
        "is detected with a power of 80 %."
    )


def _resampled(pair: Pair, gate: GateParams) -> tuple[Floats, Floats]:
    """Differences of macro F1 and of cross-entropy as they may be in truth, (resamples,) each."""
    seed = seed_of(pair.labels, pair.challenger, pair.champion, pair.excess_loss)
    generator = np.random.default_rng(seed)
    loss = resampled_means(pair.excess_loss, generator, resamples=gate.resamples)
    challenger, champion = drawn_f1_macro(
        pair.labels,
        [pair.challenger, pair.champion],
        classes=pair.classes,
        generator=generator,
        resamples=gate.resamples,
    )
    return challenger - champion, loss


def _interval(bounds: Sequence[float]) -> Interval:
    return Interval(low=bounds[0], high=bounds[1])


def significantly(significant: bool) -> str:  # noqa: FBT001 - one fact, in one word or two
    """Say a test's result in words."""
    return "significantly" if significant else "not significantly"
