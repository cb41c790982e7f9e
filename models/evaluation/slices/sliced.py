"""The test split of a network cut into slices, clusters of its mistakes among them, and scored."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from torch import nn

from models.config.policies import Flips
from models.datasets.prepared import Split, open_split
from models.datasets.sources.origins import Origins, read_origins
from models.evaluation.inference import MINIBATCH
from models.evaluation.outcomes import Integers
from models.evaluation.served import Served, TrainedTrial
from models.evaluation.slices.clusters import ErrorClusters, find_clusters
from models.evaluation.slices.membership import Slice, Sliced, all_slices
from models.evaluation.slices.scoring import score_slices
from models.monitoring.embedding import predict_and_embed

MOST_IMAGES = 10_000
"""Of validation, among which clusters are sought: the first in order of their digests, which is a
random sample."""


@dataclass(frozen=True, slots=True)
class SliceInput:
    """A network, and the images on which it errs."""

    network: nn.Module
    """As it is served: images to probabilities."""
    validation: Split
    test: Split
    predicted: Integers
    """(n,): classes that it names for the test images."""
    classes: tuple[str, ...]
    """Of labels and predictions."""
    origins: Origins | None
    """Of the test images; None: not known."""
    threads: int
    """CPU threads of torch."""


def slice_test(given: SliceInput) -> Sliced:
    """Score the test images by class, brightness, contrast, origin and cluster of mistakes.

    Clusters are found on validation. Nothing is chosen by what the scores say, and the gate is not
    asked: as with a report, no look at the test split is counted.
    """
    test = given.test
    found = all_slices(test.images, test.labels, classes=given.classes, origins=given.origins)
    clusters = _clusters(given)
    if clusters is not None:
        found += _cluster_slices(given, clusters)
    report = score_slices(given.predicted == test.labels, found)
    facts = {
        "cluster_images": min(len(given.validation.labels), MOST_IMAGES),
        "origins": given.origins is not None,
    }
    return Sliced(report.model_copy(update=facts), tuple(found))


def slice_served(trial: TrainedTrial, served: Served, *, flips: Flips) -> Sliced:
    """Cut the test split of a trial's prepared data, by what the trial says as it is served.

    Raises IntegrityError where weights have not their digest, or a file is damaged.
    """
    validation, test = (
        open_split(trial.prepared, name, verify=False) for name in ("validation", "test")
    )
    return slice_test(
        SliceInput(
            network=trial.serving(served.calibration, flips=flips),
            validation=validation,
            test=test,
            predicted=served.probabilities.argmax(axis=1),
            classes=trial.manifest.classes,
            origins=read_origins(trial.prepared),
            threads=trial.threads,
        )
    )


def _clusters(given: SliceInput) -> ErrorClusters | None:
    labels = np.asarray(given.validation.labels[:MOST_IMAGES])
    probabilities, embeddings = predict_and_embed(
        given.network, given.validation.images[:MOST_IMAGES], threads=given.threads
    )
    predicted = probabilities.argmax(axis=1)
    return find_clusters(embeddings, labels, predicted, classes=given.classes)


def _cluster_slices(given: SliceInput, clusters: ErrorClusters) -> Iterator[Slice]:
    """Yield the test images of each cluster that was chosen, where there are any."""
    places = np.concatenate(
        [
            clusters.place(predict_and_embed(given.network, part, threads=given.threads)[1])
            for part in _parts(given.test.images)
        ]
    )
    for part, name in zip(clusters.chosen, clusters.names, strict=True):
        rows = np.flatnonzero(places == part)
        if len(rows):
            yield Slice("cluster", name, rows)


def _parts(images: NDArray[np.uint8]) -> Iterator[NDArray[np.uint8]]:
    """A minibatch at a time: embeddings of all test images may not fit into memory."""
    for start in range(0, len(images), MINIBATCH):
        yield images[start : start + MINIBATCH]
