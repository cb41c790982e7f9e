"""Classes by name: numbers and columns of one list of classes brought to the order of another."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from models.errors import InputError


def renamed(
    labels: NDArray[np.int64], theirs: Sequence[str], ours: Sequence[str]
) -> NDArray[np.int64]:
    """Labels (n,) into their classes as labels into ours, by name.

    Raises InputError where a label's class is none of ours.
    """
    used = {theirs[label] for label in np.unique(labels)}
    unknown = sorted(used - set(ours))
    if unknown:
        raise InputError(
            f"classes {', '.join(unknown[:5])} are none of those known: {', '.join(ours[:20])}"
        )
    known = {name: place for place, name in enumerate(ours)}
    places = np.array([known.get(name, -1) for name in theirs], np.int64)
    moved: NDArray[np.int64] = places[labels]
    return moved


def reordered(
    probabilities: NDArray[np.float32], theirs: Sequence[str], ours: Sequence[str]
) -> NDArray[np.float32]:
    """Columns (n, classes) of their classes in the order of ours, by name.

    Raises InputError unless the two name the same classes: a column left out or made up would
    leave rows that do not sum to 1, or hold a class against who never heard of it.
    """
    missing = [name for name in ours if name not in theirs]
    if missing:
        raise InputError(f"does not know class {', '.join(missing[:5])}")
    gone = [name for name in theirs if name not in ours]
    if gone:
        raise InputError(f"knows class {', '.join(gone[:5])}, which today's data does not have")
    order = [list(theirs).index(name) for name in ours]
    moved: NDArray[np.float32] = probabilities[:, order]
    return moved
