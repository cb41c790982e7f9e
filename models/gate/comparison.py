"""Challenger against champion on the same images: every statistic that the rules ask for."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace

import numpy as np

from models.config.policies import GateParams
from models.evaluation.outcomes import Floats, Integers, Outcomes, seed_of
from models.evaluation.records import Interval
from models.evaluation.scores import f1_macro
from models.evaluation.uncertainty.bootstrap import drawn_f1_macro, resampled_means
from models.evaluation.uncertainty.intervals import holding
from models.gate.budget import level_of
from models.gate.paired import (
    detectable_difference,
    detectable_lead,
    mcnemar_p,
    quantiles,
    standard_error,
    tango_interval,
)
from models.gate.permutation import cross_entropy_p, f1_macro_p
from models.gate.records import Comparison


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

    def without(self, names: Collection[str]) -> "Pair":
        """Only the images of the other classes."""
        kept = np.isin(self.labels, [at for at, name in enumerate(self.names) if name not in names])
        return replace(
            self,
            labels=self.labels[kept],
            challenger=self.challenger[kept],
            champion=self.champion[kept],
            excess_loss=self.excess_loss[kept],
        )

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
    """Compare the pair; draws are seeded by the pair, so equal pairs give equal results.

    look: number of this comparison on these images, from 1; it fixes what can be detected.
    """
    images = len(pair.labels)
    ahead = int(pair.only_right(pair.challenger, pair.champion).sum())
    behind = int(pair.only_right(pair.champion, pair.challenger).sum())
    drawn, loss = _resampled(pair, gate)
    f1 = f1_macro(pair.labels, pair.challenger) - f1_macro(pair.labels, pair.champion)
    significance = gate.significance
    compared = Comparison(
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
    return _by_metric(compared, pair, gate, level=level_of(look, gate))


def _by_metric(compared: Comparison, pair: Pair, gate: GateParams, *, level: float) -> Comparison:
    """Add the test of the score that the challenger must be better in, where it is not accuracy."""
    generator = np.random.default_rng(_seed(pair))
    if gate.metric == "accuracy":
        return compared
    if gate.metric == "f1_macro":
        interval = compared.f1_macro_interval
        predictions = (pair.challenger, pair.champion)
        p_value = f1_macro_p(pair.labels, predictions, generator, level=level)
    else:
        interval = compared.cross_entropy_interval
        p_value = cross_entropy_p(pair.excess_loss, generator, level=level)
    error = standard_error(interval.high - interval.low, significance=gate.significance)
    return compared.model_copy(
        update={
            "metric": gate.metric,
            "metric_p_value": min(2 * p_value, 1.0),
            "detectable": detectable_difference(error, significance=2 * level),
        }
    )


def _resampled(pair: Pair, gate: GateParams) -> tuple[Floats, Floats]:
    """Differences of macro F1 and of cross-entropy as they may be in truth, (resamples,) each."""
    generator = np.random.default_rng(_seed(pair))
    loss = resampled_means(pair.excess_loss, generator, resamples=gate.resamples)
    challenger, champion = drawn_f1_macro(
        pair.labels,
        [pair.challenger, pair.champion],
        classes=pair.classes,
        generator=generator,
        resamples=gate.resamples,
    )
    return challenger - champion, loss


def _seed(pair: Pair) -> int:
    return seed_of(pair.labels, pair.challenger, pair.champion, pair.excess_loss)


def _interval(bounds: Sequence[float]) -> Interval:
    return Interval(low=bounds[0], high=bounds[1])
