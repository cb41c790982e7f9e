"""Which test images are explained: the most surprising of each class, and a random sample."""

import itertools
from collections.abc import Iterator

import numpy as np

from models.evaluation.outcomes import Integers, Outcomes


def most_surprising(outcomes: Outcomes, most: int) -> Integers:
    """Rows of at most so many images: misses and hits of each class, highest loss first.

    The first miss and the first hit of every class come before any second; of equal losses the
    earlier row. Returned by class; within it misses, then hits, each most surprising first.
    """
    surprise = np.argsort(-outcomes.losses, kind="stable")
    chosen = list(itertools.islice(_by_turns(outcomes, surprise), most))
    key = {
        row: (outcomes.labels[row], outcomes.right[row], -outcomes.losses[row], row)
        for row in chosen
    }
    return np.array(sorted(chosen, key=key.__getitem__), np.int64)


def random_sample(images: int, most: int, seed: int) -> Integers:
    """Rows of at most so many of the images, drawn without replacement, ascending."""
    drawn = np.random.default_rng(seed).choice(images, min(most, images), replace=False)
    return np.sort(drawn).astype(np.int64)


def _by_turns(outcomes: Outcomes, surprise: Integers) -> Iterator[int]:
    groups = [
        [
            int(row)
            for row in surprise
            if outcomes.labels[row] == label and outcomes.right[row] == hit
        ]
        for hit in (False, True)
        for label in np.unique(outcomes.labels)
    ]
    for turn in itertools.zip_longest(*groups):
        yield from (row for row in turn if row is not None)
