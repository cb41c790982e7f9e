"""How much too good the validation score of the best of several trials is, for it was chosen by it.

Bootstrap bias correction (BBC-CV; Tsamardinos et al., 2018, Mach Learn 107:1895): of images drawn
with replacement the best trial is selected, and scored on the images that were not drawn. Nothing
is trained. It corrects the choice among trials; that of each trial's best epoch, by the same
images, it does not.
"""

from collections.abc import Callable, Sequence

import numpy as np
from scipy import sparse

from models.config.trial import Objective
from models.evaluation.outcomes import Floats, Integers, Predictions, seed_of
from models.evaluation.records import Optimism

RESAMPLES = 1000
_MOST_NUMBERS = 2**20
"""Drawn at once: 8 MB."""

Gains = Callable[[Floats], Floats]
"""Weights of the images (draws, n) -> score of each trial, more is better: (draws, trials)."""


def estimate_optimism(
    trials: Sequence[Predictions], by: Objective, *, resamples: int = RESAMPLES
) -> Optimism | None:
    """Estimate it from the trials' predictions for the same n validation images, at least one.

    Draws are seeded by the predictions. Ties go to the lower cross-entropy, then to the earlier
    trial. None for fewer than two trials, among which nothing is chosen, and for a single image.
    """
    images = len(trials[0].labels) if trials else 0
    if len(trials) < 2 or images < 2:
        return None
    losses = np.stack([trial.losses for trial in trials], axis=1)
    gains = _gains(trials, by)
    generator = np.random.default_rng(seed_of(trials[0].labels, losses))
    seen = float(_selected(gains, losses, np.ones((1, images)), np.ones((1, images)))[0])
    size = max(_MOST_NUMBERS // images, 1)
    unseen: list[Floats] = []
    for start in range(0, resamples, size):
        counts = _draw(generator, min(size, resamples - start), images)
        counts = counts[(counts == 0).any(axis=1)]  # of a few images all may be drawn
        unseen.append(_selected(gains, losses, counts, (counts == 0).astype(np.float64)))
    excess = seen - float(np.concatenate(unseen).mean())
    sign = -1 if by == "cross_entropy" else 1
    return Optimism(
        objective=by, validation=sign * seen, excess=excess, trials=len(trials), images=images
    )


def _draw(generator: np.random.Generator, draws: int, images: int) -> Floats:
    """How often each image was drawn, (draws, images)."""
    drawn = (generator.integers(0, images, images) for _ in range(draws))
    return np.stack([np.bincount(one, minlength=images) for one in drawn]).astype(np.float64)


def _selected(gains: Gains, losses: Floats, chosen_by: Floats, scored_by: Floats) -> Floats:
    """Score (draws,) on some images of the trials that are best on others; (draws, n) weights."""
    if not len(chosen_by):
        return np.empty(0)
    loss = chosen_by @ losses / chosen_by.sum(axis=1, keepdims=True)
    best = np.lexsort((loss, -gains(chosen_by)), axis=1)[:, 0]
    return np.asarray(gains(scored_by)[np.arange(len(best)), best], np.float64)


def _gains(trials: Sequence[Predictions], by: Objective) -> Gains:
    if by == "f1_macro":
        return _f1_gains(trials)
    values = [-one.losses if by == "cross_entropy" else one.right for one in trials]
    table = np.stack(values, axis=1).astype(np.float64)
    return lambda weights: np.asarray(weights @ table / weights.sum(axis=1, keepdims=True))


def _f1_gains(trials: Sequence[Predictions]) -> Gains:
    """Macro F1 over the classes with images, as `scores.f1_macro`."""
    labels = trials[0].labels
    classes = 1 + max(int(max(labels.max(), one.predicted.max())) for one in trials)
    true = _marks(labels, np.ones(len(labels)), classes)
    right = [_marks(labels, one.right.astype(np.float64), classes) for one in trials]
    named = [_marks(one.predicted, np.ones(len(labels)), classes) for one in trials]

    def gains(weights: Floats) -> Floats:
        images = weights @ true
        present = images > 0
        columns = [
            2 * (weights @ hit) / np.maximum(images + weights @ taken, 1)
            for hit, taken in zip(right, named, strict=True)
        ]
        sums = [np.where(present, column, 0).sum(axis=1) for column in columns]
        return np.asarray(np.stack(sums, axis=1) / present.sum(axis=1, keepdims=True))

    return gains


def _marks(places: Integers, values: Floats, classes: int) -> sparse.csr_array:
    """Matrix (n, classes) with a value at the place of each row."""
    n = len(places)
    return sparse.csr_array((values, (np.arange(n), places)), shape=(n, classes))
