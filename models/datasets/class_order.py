"""Mapping of labels and probabilities from one list of classes to another, by name."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from models.errors import InputError


def map_labels(
    labels: NDArray[np.int64], theirs: Sequence[str], ours: Sequence[str]
) -> NDArray[np.int64]:
    """Map labels (n,), indices into their classes, to indices into our classes.

    Raises InputError where the class of a label is not among ours.
    """
    used = {theirs[label] for label in np.unique(labels)}
    unknown = sorted(used - set(ours))
    if unknown:
        raise InputError(
            f"unknown classes {', '.join(unknown[:5])}; known are: {', '.join(ours[:20])}"
        )
    known = {name: place for place, name in enumerate(ours)}
    places = np.array([known.get(name, -1) for name in theirs], np.int64)
    mapped: NDArray[np.int64] = places[labels]
    return mapped


def reorder_columns(
    probabilities: NDArray[np.float32], theirs: Sequence[str], ours: Sequence[str]
) -> NDArray[np.float32]:
    """Bring columns (n, classes) from the order of their classes to the order of ours.

    Raises InputError unless both name the same classes: with a column omitted or invented, rows
    would not sum to 1, or a class would count against a network that never learned it.
    """
    missing = [name for name in ours if name not in theirs]
    if missing:
        raise InputError(f"does not know class {', '.join(missing[:5])}")
    extra = [name for name in theirs if name not in ours]
    if extra:
        raise InputError(f"knows class {', '.join(extra[:5])}, which today's data does not have")
    order = [list(theirs).index(name) for name in ours]
    ordered: NDArray[np.float32] = probabilities[:, order]
    return ordered


def widen_columns(
    probabilities: NDArray[np.float32], theirs: Sequence[str], ours: Sequence[str]
) -> tuple[NDArray[np.float32], tuple[str, ...]]:
    """Bring columns (n, their classes) to our order; and the classes of ours that they lack.

    A class that they do not know has the probability 0. Raises InputError where they know a class
    that is not ours, or none that is.
    """
    lacking = tuple(name for name in ours if name not in theirs)
    if not lacking or len(lacking) == len(ours) or set(theirs) - set(ours):
        return reorder_columns(probabilities, theirs, ours), ()
    widened = np.zeros((len(probabilities), len(ours)), probabilities.dtype)
    widened[:, [list(ours).index(name) for name in theirs]] = probabilities
    return widened, lacking
