"""The gap between train and validation of the weights that were kept, with 95 % intervals."""

import math
from dataclasses import dataclass

import numpy as np
from scipy import stats

from models.config import SplitName
from models.datasets.prepared import open_split
from models.evaluation.inference import predict_probabilities
from models.evaluation.outcomes import Floats, Outcomes, outcomes_of
from models.evaluation.served import TrainedTrial
from models.evaluation.uncertainty.intervals import LEVEL, newcombe
from models.networks.serving import ServingNetwork

MOST_IMAGES = 5000
"""Images of a split that are scored: an accuracy of 0.9 is known to 0.8 points from so many."""


@dataclass(frozen=True, slots=True)
class SplitScores:
    """Scores of the kept weights on images of one split, in evaluation mode."""

    images: int
    accuracy: float
    cross_entropy: float
    """Nats."""


@dataclass(frozen=True, slots=True)
class Difference:
    """A difference of two scores, and the 95 % interval of what it is in the population."""

    value: float
    low: float
    high: float
    """-inf and inf: one image says nothing of its spread."""


@dataclass(frozen=True, slots=True)
class GeneralisationGap:
    """How much better the kept weights do on images that they were trained on.

    The epoch was chosen on validation, which makes the gap look smaller than it is, if anything.
    """

    train: SplitScores
    validation: SplitScores
    accuracy: Difference
    """Train minus validation."""
    cross_entropy: Difference
    """Validation minus train, nats."""


def measure_gap(trial: TrainedTrial) -> GeneralisationGap:
    """Score a trial's kept weights on train and on validation, at most MOST_IMAGES of each.

    Without augmentation, mixing and dropout, and before any calibration. The rows of a split are
    in the order of their images' SHA-256, so that the first ones are a random sample, and always
    the same. Raises IntegrityError where the weights have not their digest.
    """
    network = trial.serving()
    train, validation = (_outcomes(trial, network, name) for name in ("train", "validation"))
    return generalisation_gap(train, validation)


def generalisation_gap(train: Outcomes, validation: Outcomes) -> GeneralisationGap:
    """Compare the outcomes of two independent samples of images.

    Accuracies by Newcombe's hybrid of Wilson intervals (1998), mean losses by Welch's t (1947).
    """
    scores, others = _scores(train), _scores(validation)
    right = [int(one.right.sum()) for one in (train, validation)]
    accuracy = newcombe(right, [scores.images, others.images])
    return GeneralisationGap(
        train=scores,
        validation=others,
        accuracy=Difference(scores.accuracy - others.accuracy, accuracy.low, accuracy.high),
        cross_entropy=welch(validation.losses, train.losses),
    )


def welch(first: Floats, second: Floats) -> Difference:
    """Difference of two means, first minus second, of samples of unequal variance (Welch, 1947).

    first: (n,);  second: (m,), independent of it. Where either holds one value, nothing is known.
    """
    difference = float(first.mean() - second.mean())
    if min(len(first), len(second)) < 2:
        return Difference(difference, -math.inf, math.inf)
    parts = np.array([one.var(ddof=1) / len(one) for one in (first, second)])
    if parts.sum() == 0:
        return Difference(difference, difference, difference)
    share = parts / parts.sum()
    freedom = 1 / (share**2 / (np.array([len(first), len(second)]) - 1)).sum()
    reach = float(stats.t.ppf((1 + LEVEL) / 2, freedom) * math.sqrt(parts.sum()))
    return Difference(difference, difference - reach, difference + reach)


def _scores(outcomes: Outcomes) -> SplitScores:
    return SplitScores(
        images=len(outcomes.labels),
        accuracy=float(outcomes.right.mean()),
        cross_entropy=float(outcomes.losses.mean()),
    )


def _outcomes(trial: TrainedTrial, network: ServingNetwork, name: SplitName) -> Outcomes:
    split = open_split(trial.prepared, name, verify=False)
    images, labels = split.images[:MOST_IMAGES], split.labels[:MOST_IMAGES]
    return outcomes_of(predict_probabilities(network, images, threads=trial.threads), labels)
