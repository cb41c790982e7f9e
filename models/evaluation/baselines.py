"""Baselines on pixels: what a network must beat to be worth its training."""

import warnings
from collections.abc import Iterable, Iterator

import numpy as np
from numpy.typing import NDArray
from sklearn.dummy import DummyClassifier
from sklearn.ensemble import RandomForestClassifier
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from models.datasets.prepared import Split
from models.evaluation.outcomes import Outcomes, outcomes_of
from models.evaluation.records import Baseline
from models.evaluation.scores import score
from models.gate.paired import lead_of
from models.trials import Scores

MOST_IMAGES = 5000
"""Images of a split used; ids are digests, so that the first by id are a random sample."""
SIDE = 16
"""Pixels a side, at most; larger images are averaged over rectangles."""
UNIFORM = 0.01
"""Share of the uniform distribution in every prediction: a vote of 0 has no logarithm."""
_PORTION = 500

Floats = NDArray[np.float32]


def score_baselines(
    train: Split,
    validation: Split,
    *,
    classes: tuple[str, ...],
    selected: NDArray[np.int64] | None = None,
) -> tuple[Baseline, ...]:
    """Fit each baseline on train's pixels and score it on validation; best accuracy first.

    At most MOST_IMAGES of each split are used. Equal splits give equal scores, to the bit.
    selected: classes that the selected trial predicts for these images of validation, whose lead
    over each is then measured; it was selected on them, which makes its lead too long, if anything.
    """
    images, labels = pixels(train), np.asarray(train.labels[:MOST_IMAGES])
    asked, truth = pixels(validation), np.asarray(validation.labels[:MOST_IMAGES])
    return by_accuracy(
        baseline_of(name, predicted, truth, classes=classes, selected=selected)
        for name, predicted in _predictions(images, labels, asked, classes=len(classes))
    )


def baseline_of(
    name: str,
    probabilities: NDArray[np.floating],
    labels: NDArray[np.int64],
    *,
    classes: tuple[str, ...],
    selected: NDArray[np.int64] | None,
) -> Baseline:
    """Score probabilities (n, classes) on n images; selected: as `score_baselines` takes it."""
    outcomes = outcomes_of(probabilities, labels)
    lead = None if selected is None else lead_of(selected == labels, outcomes.right)
    return Baseline(name=name, scores=_scores(outcomes, classes), lead=lead)


def by_accuracy(baselines: Iterable[Baseline]) -> tuple[Baseline, ...]:
    """Return them with the best accuracy first."""
    return tuple(sorted(baselines, key=lambda baseline: -baseline.scores.accuracy))


def pixels(split: Split) -> Floats:
    """Images as rows of at most SIDE x SIDE means per channel, (n, features), in [0, 1]."""
    count = min(len(split.labels), MOST_IMAGES)
    portions = (
        split.images[start : min(start + _PORTION, count)] for start in range(0, count, _PORTION)
    )
    rows = [_averaged(portion).reshape(len(portion), -1) for portion in portions]
    return np.concatenate(rows)


def _averaged(images: NDArray[np.uint8]) -> Floats:
    """Means over rectangles that tile each image: (n, C, H, W) -> (n, C, <= SIDE, <= SIDE)."""
    means: Floats = images.astype(np.float32) / np.float32(255)
    for axis in (2, 3):
        length = images.shape[axis]
        edges = np.arange(min(SIDE, length)) * length // min(SIDE, length)
        widths = np.diff(edges, append=length).astype(np.float32)
        shape = [-1 if index == axis else 1 for index in range(4)]
        means = np.divide(np.add.reduceat(means, edges, axis=axis), widths.reshape(shape))
    return means


def _predictions(
    images: Floats, labels: NDArray[np.int64], asked: Floats, *, classes: int
) -> Iterator[tuple[str, NDArray[np.float64]]]:
    """Name of each baseline and its probabilities, (n, classes), for the images asked about."""
    neighbours = min(5, len(labels))
    for name, model in (
        ("most frequent class", DummyClassifier(strategy="prior")),
        (f"{neighbours} nearest neighbours", KNeighborsClassifier(neighbours)),
        ("logistic regression", make_pipeline(StandardScaler(), LogisticRegression(C=0.01))),
        ("random forest", RandomForestClassifier(300, random_state=0, n_jobs=-1)),
    ):
        if len(np.unique(labels)) < 2 and name == "logistic regression":
            continue  # it needs two classes
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)
            model.fit(images, labels)
        predicted = np.full((len(asked), classes), UNIFORM / classes)
        # A class without training images has no column of the model's.
        predicted[:, model.classes_] += (1 - UNIFORM) * model.predict_proba(asked)
        yield name, predicted


def _scores(outcomes: Outcomes, classes: tuple[str, ...]) -> Scores:
    return score(outcomes, classes=classes, bins=15).scores
