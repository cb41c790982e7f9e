"""Scores of a version, an alias or a trial, on today's test split or on given images."""

import re
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from flows.datasets.files import PREPARED
from flows.records.trial_store import begins_a_key, directory_of, find_trial
from flows.registry.listing import aliases
from flows.registry.loading import load_version
from flows.registry.splits import open_split_for
from flows.tracking.store import Tracking
from models.config.data import ImageForm
from models.datasets.class_order import map_labels
from models.datasets.prepared import read_manifest
from models.datasets.reading import decode_rows, read_labelled, stack_images
from models.errors import ConfigError, InputError
from models.evaluation.inference import predict_probabilities
from models.evaluation.records import Evaluation
from models.evaluation.scores import evaluate
from models.training.checkpoint import load_serving
from models.trials import TrialResult

_KEY = re.compile(r"[0-9a-f]{1,64}")


def evaluate_target(
    tracking: Tracking, target: str, *, bins: int, source: Path | None = None
) -> Evaluation:
    """Score a version, alias or trial (a key, or as many of its first digits as no other has).

    A version as it is served, calibrated where it is; a trial as it was trained.

    source: labelled images in any format that `data add` reads; None: today's test split, in the
    image form that the version takes.
    Raises ConfigError where there is no such target, InputError where the images do not fit it.
    """
    if names_trial(tracking, target):
        return _evaluate_trial(target, bins=bins, source=source)
    version = load_version(tracking, target)
    lineage = version.files.lineage
    images, labels = _images(source, lineage.classes, lineage.image_form)
    return evaluate(version.predict(images), labels, classes=lineage.classes, bins=bins)


def names_trial(tracking: Tracking, target: str) -> bool:
    """Whether a target is a trial; short ones may be a version's number or an alias as well."""
    if not _KEY.fullmatch(target) or (target.isdecimal() and len(target) < 12):
        return False
    return len(target) >= 6 or (begins_a_key(target) and target not in aliases(tracking))


def _evaluate_trial(key: str, *, bins: int, source: Path | None) -> Evaluation:
    trial = find_trial(key)
    if not isinstance(trial.outcome, TrialResult):
        raise ConfigError(f"trial {trial.key[:12]} has no weights: it is {trial.state}")
    manifest = read_manifest(PREPARED)
    if manifest.digest != trial.spec.dataset:
        raise ConfigError(
            f"trial {trial.key[:12]} was trained on other data than is prepared now; "
            "`pitchpipe data restore` brings it back"
        )
    serving = load_serving(directory_of(trial.key), trial.outcome, manifest)
    images, labels = _images(source, manifest.classes, manifest.form)
    probabilities = predict_probabilities(serving, images, threads=trial.spec.config.threads)
    return evaluate(probabilities, labels, classes=manifest.classes, bins=bins)


def _images(
    source: Path | None, classes: tuple[str, ...], form: ImageForm
) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """Images (n, channels, height, width) and labels (n,) into classes."""
    if source is not None:
        return _read(source, classes, form)
    manifest = read_manifest(PREPARED)
    try:
        split = open_split_for(form, "test")
    except InputError as error:
        raise InputError(f"{error}; give images with --data") from None
    return split.images, map_labels(split.labels, manifest.classes, classes)


def _read(
    source: Path, classes: tuple[str, ...], form: ImageForm
) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    pieces = [
        (stack_images(decode_rows(rows), form), map_labels(rows.labels, theirs, classes))
        for theirs, rows in read_labelled(source)
    ]
    if not pieces:
        raise InputError(f"{source}: contains no image")
    images, labels = zip(*pieces, strict=True)
    return np.concatenate(images), np.concatenate(labels)
