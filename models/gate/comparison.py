"""Challenger against champion on the same images: the numbers, and the rules they are held to."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from scipy import stats

from models.config.policies import GateParams
from models.evaluation.bootstrap import resampled_f1, resampled_means
from models.evaluation.outcomes import Floats, Integers, Outcomes, seed_of
from models.evaluation.records import Interval
from models.gate.paired import (
    detectable_lead,
    holm,
    mcnemar_p,
    quantiles,
    tango_interval,
    tango_z,
)
from models.gate.records import Comparison, Reason


@dataclass(frozen=True, slots=True)
class Pair:
    """What both say of the same n images, in an order that does not depend on how they came."""

    labels: Integers
    challenger: Integers
    """(n,) classes named by the challenger."""
    champion: Integers
    """(n,) classes named by the champion."""
    excess_loss: Floats
    """(n,) loss of the challenger minus the champion's, nats."""
    names: tuple[str, ...]
    """Of the classes."""

    @property
    def classes(self) -> int:
        """Number of classes."""
        return len(self.names)

    def only_right(self, one: Integers, other: Integers) -> Integers:
        """Count, for each class, the images that one names rightly and the other does not."""
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


def compare(pair: Pair, gate: GateParams) -> Comparison:
    """Measure the pair; the bootstrap is seeded by the pair, so equal pairs compare equal."""
    images = len(pair.labels)
    ahead = int(pair.only_right(pair.challenger, pair.champion).sum())
    behind = int(pair.only_right(pair.champion, pair.challenger).sum())
    f1, loss = _resampled(pair, gate)
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
        f1_macro=_f1_difference(pair),
        f1_macro_interval=_interval(quantiles(f1, significance)),
        cross_entropy=float(pair.excess_loss.mean()),
        cross_entropy_interval=_interval(quantiles(loss, significance)),
        detectable=detectable_lead(images, (ahead + behind) / images, significance=significance),
    )


def better(found: Comparison, gate: GateParams) -> tuple[Reason, ...]:
    """Ask for a lead in accuracy that is shown and worth a change."""
    effect = Reason(
        rule="minimum_effect",
        passed=found.accuracy >= gate.minimum_effect,
        value=found.accuracy,
        threshold=gate.minimum_effect,
        text=f"Accuracy differs by {100 * found.accuracy:+.2f} points; at least "
        f"{100 * gate.minimum_effect:+.2f} is asked.",
    )
    return _shown_better(found, gate.significance), effect


def _shown_better(found: Comparison, significance: float) -> Reason:
    shown = found.accuracy > 0 and found.p_value <= significance
    return Reason(
        rule="accuracy_shown_better",
        passed=shown,
        value=found.p_value,
        threshold=significance,
        text=f"Only the challenger has {found.challenger_only:,} images right, only the champion "
        f"{found.champion_only:,}: {'' if shown else 'no '}evidence of a better accuracy (exact "
        f"McNemar, p = {found.p_value:.2g}; at most {significance:g} is asked). With "
        f"{found.images:,} test images a true lead of {100 * found.detectable:.2g} points is shown "
        "four times in five.",
    )


def not_worse(pair: Pair, found: Comparison, gate: GateParams) -> tuple[Reason, ...]:
    """Ask that nothing is shown to be worse than its margin; what is not shown passes."""
    return (
        _accuracy_not_worse(found, gate.significance),
        _f1_not_worse(found, gate.f1_macro_margin),
        _cross_entropy_not_worse(found, gate.cross_entropy_margin),
        _classes_not_worse(pair, gate),
    )


def _accuracy_not_worse(found: Comparison, significance: float) -> Reason:
    worse = found.accuracy < 0 and found.p_value <= significance
    return Reason(
        rule="accuracy_not_worse",
        passed=not worse,
        value=found.p_value,
        threshold=significance,
        text=f"Accuracy is {'' if worse else 'not '}shown to be worse (exact McNemar): "
        f"{_span(found.accuracy, found.accuracy_interval)}.",
    )


def _f1_not_worse(found: Comparison, margin: float) -> Reason:
    high = found.f1_macro_interval.high
    worse = high < -margin
    return Reason(
        rule="f1_macro_not_worse",
        passed=not worse,
        value=high,
        threshold=-margin,
        text=f"Macro F1 is {'' if worse else 'not '}shown to be more than {margin:g} worse: "
        f"{_span(found.f1_macro, found.f1_macro_interval)}.",
    )


def _cross_entropy_not_worse(found: Comparison, margin: float) -> Reason:
    low = found.cross_entropy_interval.low
    worse = low > margin
    return Reason(
        rule="cross_entropy_not_worse",
        passed=not worse,
        value=low,
        threshold=margin,
        text=f"Cross-entropy is {'' if worse else 'not '}shown to be more than {margin:g} nats "
        f"worse: {_span(found.cross_entropy, found.cross_entropy_interval)}.",
    )


def _classes_not_worse(pair: Pair, gate: GateParams) -> Reason:
    """Tango's score test in each class against the margin, with Holm's correction over classes."""
    margin = gate.class_recall_margin
    present = np.flatnonzero(np.bincount(pair.labels, minlength=pair.classes))
    p_values = list(_class_p_values(pair, present, margin=margin))
    worse = [pair.names[present[index]] for index in holm(p_values, gate.significance / 2)]
    which = f"class {', '.join(worse)}" if worse else "no class"
    return Reason(
        rule="class_recall_not_worse",
        passed=not worse,
        value=min(p_values),
        threshold=gate.significance / 2 / len(present),
        text=f"Recall is shown to be more than {100 * margin:g} points worse in {which} "
        f"(score tests, lowest p = {min(p_values):.2g} over {len(present)} classes, Holm).",
    )


def _class_p_values(pair: Pair, present: Integers, *, margin: float) -> Iterator[float]:
    ahead = pair.only_right(pair.challenger, pair.champion)
    behind = pair.only_right(pair.champion, pair.challenger)
    support = np.bincount(pair.labels, minlength=pair.classes)
    for label in present:
        z = tango_z(int(ahead[label]), int(behind[label]), int(support[label]), difference=-margin)
        yield float(stats.norm.cdf(z))


def _resampled(pair: Pair, gate: GateParams) -> tuple[Floats, Floats]:
    """Differences of macro F1 and of cross-entropy on resampled images, (resamples,) each."""
    seed = seed_of(pair.labels, pair.challenger, pair.champion, pair.excess_loss)
    generator = np.random.default_rng(seed)
    challenger, champion = resampled_f1(
        pair.labels,
        [pair.challenger, pair.champion],
        classes=pair.classes,
        generator=generator,
        resamples=gate.resamples,
    )
    loss = resampled_means(pair.excess_loss, generator, resamples=gate.resamples)
    return challenger.mean(axis=1) - champion.mean(axis=1), loss


def _f1_difference(pair: Pair) -> float:
    challenger, champion = (_f1_macro(pair, one) for one in (pair.challenger, pair.champion))
    return challenger - champion


def _f1_macro(pair: Pair, predicted: Integers) -> float:
    right = np.bincount(pair.labels[predicted == pair.labels], minlength=pair.classes)
    either = np.bincount(predicted, minlength=pair.classes)
    either = either + np.bincount(pair.labels, minlength=pair.classes)
    return float(np.divide(2 * right, either, out=np.zeros(pair.classes), where=either > 0).mean())


def _interval(bounds: Sequence[float]) -> Interval:
    return Interval(low=bounds[0], high=bounds[1])


def _span(value: float, interval: Interval) -> str:
    return f"{value:+.4f} ({interval.low:+.4f} to {interval.high:+.4f})"
