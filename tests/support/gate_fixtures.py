"""Pairs of versions with known counts, for the tests and the bench of the gate."""

from dataclasses import replace

import numpy as np
import numpy.typing as npt
from evaluation_fixtures import Probabilities, names, naming

from models.config import GateParams
from models.gate.inputs import GateInput

QUICK = GateParams(resamples=200, minimum_test_images=1)


def version(probabilities: Probabilities, labels: npt.NDArray[np.int64]) -> GateInput:
    return GateInput(
        probabilities=probabilities,
        labels=labels,
        test_digest="ab" * 32,
        classes=tuple(names(probabilities.shape[1])),
        trained_on_test=0,
        weights_megabytes=0.4,
    )


def pair(
    *, both: int, challenger_only: int, champion_only: int, neither: int, classes: int = 2
) -> tuple[GateInput, GateInput]:
    """Challenger and champion with these counts; labels go round the classes within each kind."""
    counts = (both, challenger_only, champion_only, neither)
    labels = np.concatenate([np.arange(count) % classes for count in counts])
    kind = np.repeat(np.arange(4), counts)
    wrong = (labels + 1) % classes
    challenger = np.where((kind == 0) | (kind == 1), labels, wrong)
    champion = np.where((kind == 0) | (kind == 2), labels, wrong)
    return (
        version(naming(challenger, classes=classes), labels),
        version(naming(champion, classes=classes), labels),
    )


def one_class_loses(images: int, lost: int, *, gained: int = 3) -> tuple[GateInput, GateInput]:
    """Challenger and champion of ten classes: class 9 loses so many, each other gains some.

    images: of each class; the champion has four of five right.
    """
    labels, within = np.repeat(np.arange(10), images), np.tile(np.arange(images), 10)
    right = images * 4 // 5
    named = np.where(labels == 9, right - lost, right + gained)
    champion, challenger = (
        np.where(within < most, labels, (labels + 1) % 10) for most in (right, named)
    )
    return (
        version(naming(challenger, classes=10), labels),
        version(naming(champion, classes=10), labels),
    )


def grown(
    *, images: int = 100, found: int = 90, lost: int = 0, gained: int = 0
) -> tuple[GateInput, GateInput]:
    """Classes 0 and 1 of 400 images each, of which both have 360 right, and class 2, which is new.

    images, found: of class 2; lost, gained: of classes 0 and 1 each, by the challenger.
    """
    labels = np.repeat([0, 1, 2], [400, 400, images])
    within = np.concatenate([np.arange(400), np.arange(400), np.arange(images)])
    old = labels < 2
    by_champion = np.where(old & (within < 360), labels, 1 - labels % 2)
    right = (within >= lost) & (within < 360 + gained)
    by_challenger = np.where(
        old, np.where(right, labels, 1 - labels % 2), np.where(within < found, 2, 0)
    )
    champion = version(np.pad(naming(by_champion, classes=2), [(0, 0), (0, 1)]), labels)
    return version(naming(by_challenger, classes=3), labels), replace(
        champion, unknown=("class 2",)
    )


def surer(one: GateInput, confidence: float) -> GateInput:
    """The same classes named, with another confidence."""
    classes = one.probabilities.shape[1]
    named = naming(one.probabilities.argmax(axis=1), classes=classes, confidence=confidence)
    return replace(one, probabilities=named)
