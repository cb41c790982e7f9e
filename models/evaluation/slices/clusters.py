"""Clusters of images, by a network's embeddings, in which mistakes gather.

They are found on validation images and tested on test images, which had no part in the search:
whatever a search finds, the test of it is as honest as that of a class (sample splitting; Cox,
1975, Biometrika 62:441). Where the network was trained on validation as well, as a refit is, there
are few mistakes to find: fewer clusters then, and no falser ones.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from sklearn.cluster import KMeans
from sklearn.decomposition import PCA

from models.evaluation.outcomes import Floats, Integers

MOST_CLUSTERS = 5
"""That are tested: each costs all other slices some power."""
COMPONENTS = 32
"""Principal components of the embeddings."""
IMAGES_OF_A_CLUSTER = 50
"""On average: of fewer, the share of mistakes is hardly known."""
CLUSTERS = 30
"""Into which all images are cut, at most."""
FEWEST_WRONG = 3
"""Mistakes in a cluster that is tested."""
_GRID = 1024
"""Steps of a unit to which components are rounded: their sums are then exact, and k-means gives
the same bits in whatever order its threads add."""


@dataclass(frozen=True, slots=True)
class ErrorClusters:
    """Parts of the space of embeddings in which many mistakes were made."""

    mean: Floats
    """(features,)."""
    directions: Floats
    """(features, components), in units of the first component's standard deviation."""
    centres: Floats
    """(k, components): of all parts."""
    chosen: tuple[int, ...]
    """Those of the k with many mistakes, most first."""
    names: tuple[str, ...]
    """Of these, such as `1 (9 taken for 4)`: by its most frequent mistake."""
    images: int
    """Among which they were sought."""

    def place(self, embeddings: NDArray[np.floating]) -> Integers:
        """Say for each of m images, (m, features), in which of the k parts it is: (m,)."""
        found = _on_grid((embeddings.astype(np.float64) - self.mean) @ self.directions)
        squares = (self.centres**2).sum(axis=1) - 2 * found @ self.centres.T
        nearest: Integers = squares.argmin(axis=1).astype(np.int64)
        return nearest


def find_clusters(
    embeddings: NDArray[np.floating],
    labels: Integers,
    predicted: Integers,
    *,
    classes: Sequence[str],
) -> ErrorClusters | None:
    """Cut the space of n embeddings by k-means, and choose the parts with the most mistakes.

    embeddings: (n, features);  labels, predicted: (n,), into classes. Chosen are at most five, by
    the mistakes beyond those that as many other images have. None where there are too few images,
    mistakes or differences to tell parts apart. A function of its input alone.
    """
    wrong = labels != predicted
    parts = min(len(labels) // IMAGES_OF_A_CLUSTER, CLUSTERS)
    values = embeddings.astype(np.float64)
    if parts < 2 or wrong.sum() < FEWEST_WRONG or not np.ptp(values, axis=0).any():
        return None
    mean, directions = _components(values)
    found = _on_grid((values - mean) @ directions)
    parts = min(parts, len(np.unique(found, axis=0)))
    if parts < 2:
        return None
    fitted = KMeans(parts, n_init=2, random_state=0).fit(found)
    places = fitted.labels_.astype(np.int64)
    chosen = _most_mistaken(places, wrong, parts)
    names = [
        f"{number} ({_mistake(places == part, labels, predicted, classes)})"
        for number, part in enumerate(chosen, start=1)
    ]
    clusters = ErrorClusters(
        mean, directions, fitted.cluster_centers_, tuple(chosen), tuple(names), len(labels)
    )
    return clusters if chosen else None


def _components(values: Floats) -> tuple[Floats, Floats]:
    """Mean, and leading directions scaled so that the first component has unit variance."""
    fitted = PCA(min(COMPONENTS, *values.shape), random_state=0).fit(values)
    return fitted.mean_, fitted.components_.T / np.sqrt(fitted.explained_variance_[0])


def _on_grid(values: Floats) -> Floats:
    rounded: Floats = np.rint(values * _GRID) / _GRID
    return rounded


def _most_mistaken(places: Integers, wrong: NDArray[np.bool_], parts: int) -> list[int]:
    """Parts with more mistakes than as many other images have, the greatest excess first."""
    images = np.bincount(places, minlength=parts)
    mistakes = np.bincount(places[wrong], minlength=parts)
    excess = mistakes - images * wrong.mean()
    order = np.argsort(-excess, kind="stable").tolist()
    enough = [one for one in order if excess[one] > 0 and mistakes[one] >= FEWEST_WRONG]
    return enough[:MOST_CLUSTERS]


def _mistake(
    inside: NDArray[np.bool_], labels: Integers, predicted: Integers, classes: Sequence[str]
) -> str:
    """The most frequent mistake of some images; of equally frequent ones that of lower labels."""
    at = np.flatnonzero(inside & (labels != predicted))
    pairs = Counter(zip(labels[at].tolist(), predicted[at].tolist(), strict=True))
    true, taken = min(pairs, key=lambda pair: (-pairs[pair], pair))
    return f"{classes[true]} taken for {classes[taken]}"
