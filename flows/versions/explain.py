"""Explain a version's answers: attribution maps of test images, judged, as a page and in MLflow."""

import itertools
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from flows.datasets.files import PREPARED
from flows.registry.loading import LoadedVersion, load_version
from flows.registry.splits import open_split_for
from flows.tracking.runs import Runs
from flows.tracking.store import Tracking, TrackingError, mlflow_errors
from flows.versions.reports import REPORTS
from models.datasets.class_order import map_labels
from models.datasets.prepared import Split, read_manifest
from models.errors import ConfigError
from models.evaluation.explanation.attribution import (
    Maps,
    attribute,
    fitting_methods,
    require_captum,
)
from models.evaluation.explanation.choosing import most_surprising, random_sample
from models.evaluation.explanation.judging import (
    Sample,
    collected,
    judge,
    pieces_of_work,
)
from models.evaluation.explanation.page import write_explanation
from models.evaluation.explanation.records import METHODS, Explanation, Method, ShownImage
from models.evaluation.outcomes import Integers, Outcomes, outcomes_of
from models.networks.serving import ServingNetwork

log = logging.getLogger(__name__)

MOST_IMAGES = 500
"""That may be shown, and as many judged."""
Progress = Callable[[int, int], None]
"""Pieces of work done, and of all."""


@dataclass(frozen=True, slots=True)
class Asked:
    """What is to be explained."""

    methods: tuple[str, ...] = ()
    """Names; none: all that fit the network."""
    images: int = 30
    """Shown at most, the most surprising; and as many, drawn at random, by which is judged."""
    seed: int = 0


@dataclass(frozen=True, slots=True)
class _Answers:
    """A version's answers to today's test split."""

    loaded: LoadedVersion
    network: ServingNetwork
    split: Split
    outcomes: Outcomes


def explain_version(
    tracking: Tracking, wanted: str, asked: Asked, progress: Progress
) -> tuple[Explanation, Path]:
    """Write mlruns/reports/<name>/<version>/explanation.html and .json; return record and page.

    The version is rebuilt as `predict` does it, from checked files, without unpickling. It answers
    today's test split, whose images are shown; no look is counted, nothing is selected. Both files
    are logged under `explanation` in the run of its retraining; where MLflow refuses, a warning is
    logged. The same version, images and seed give the same bits.
    Raises ConfigError for an unknown method, for Grad-CAM without convolutions, and where captum or
    what the network is built by is missing; as `load_version` and `open_split_for` do.
    """
    require_captum()
    _check(asked)
    answers = _answer(load_version(tracking, wanted))
    methods, left_out = _choose(asked, answers)
    shown = most_surprising(answers.outcomes, asked.images)
    maps, found = _explain(answers, shown, methods, (asked, progress))
    found = found.model_copy(update={"left_out": left_out})
    directory = REPORTS / tracking.name / str(found.version) / "explanation"
    page = write_explanation(directory, found, np.asarray(answers.split.images[shown]), maps)
    _log(tracking, answers.loaded, directory)
    return found, page


def _check(asked: Asked) -> None:
    unknown = [one for one in asked.methods if one not in METHODS]
    if unknown:
        raise ConfigError(f"--method {unknown[0]}: is none of {', '.join(METHODS)}")
    if not 1 <= asked.images <= MOST_IMAGES:
        raise ConfigError(f"--images {asked.images}: must be from 1 to {MOST_IMAGES}")


def _answer(loaded: LoadedVersion) -> _Answers:
    lineage = loaded.files.lineage
    if not isinstance(loaded.network, ServingNetwork):
        raise ConfigError(
            f"{loaded.files.called}: its network cannot be built again here, and maps need its "
            "layers: an earlier release registered it, or its network is none of ours or needs "
            "`make install EXTRAS=timm`; explain another version"
        )
    split = open_split_for(lineage.image_form, "test")
    labels = map_labels(split.labels, read_manifest(PREPARED).classes, lineage.classes)
    outcomes = outcomes_of(loaded.predict(split.images), labels)
    return _Answers(loaded, loaded.network, split, outcomes)


def _choose(asked: Asked, answers: _Answers) -> tuple[tuple[Method, ...], str | None]:
    """Return the methods, and why one is not there."""
    lineage = answers.loaded.files.lineage
    fitting = fitting_methods(answers.network, lineage.image_shape)
    chosen = tuple(one for one in METHODS if one in asked.methods or not asked.methods)
    missing = [one for one in chosen if one not in fitting]
    if not missing:
        return chosen, None
    why = (
        "Grad-CAM needs a convolution, and the network of "
        f"{answers.loaded.files.called} ({lineage.spec.config.network.name}) has none"
    )
    if asked.methods:
        others = ", ".join(fitting)
        raise ConfigError(f"--method grad_cam: {why}; choose among {others}")
    return tuple(one for one in chosen if one in fitting), why


def _explain(
    answers: _Answers,
    shown: Integers,
    methods: Sequence[Method],
    how: tuple[Asked, Progress],
) -> tuple[dict[Method, list[Maps]], Explanation]:
    """Return method -> maps of the shown rows, and all that is known of them."""
    asked, progress = how
    lineage, record = answers.loaded.files.lineage, answers.loaded.files.record
    torch.set_num_threads(lineage.spec.config.threads)
    sampled = random_sample(len(answers.outcomes.labels), asked.images, asked.seed)
    work = len(shown) * len(methods) + pieces_of_work(len(sampled), len(methods))
    advance = _counting(progress, work)
    one = _sample(answers, shown, asked.seed)
    maps = {
        method: collected(attribute(one.network, one.images, one.answers, method), advance)
        for method in methods
    }
    judged = judge(_sample(answers, sampled, asked.seed), methods, advance)
    return maps, Explanation(
        name=record.name,
        version=record.version,
        network=lineage.spec.config.network.name,
        dataset_digest=read_manifest(PREPARED).digest,
        seed=asked.seed,
        images=len(sampled),
        shown=tuple(_described(answers, int(row)) for row in shown),
        methods=judged,
    )


def _counting(progress: Progress, total: int) -> Callable[[], None]:
    done = itertools.count(1)
    return lambda: progress(next(done), total)


def _sample(answers: _Answers, rows: Integers, seed: int) -> Sample:
    images: NDArray[np.uint8] = np.asarray(answers.split.images[rows])
    answered = tuple(int(one) for one in answers.outcomes.predicted[rows])
    return Sample(answers.network, images, answered, seed)


def _described(answers: _Answers, row: int) -> ShownImage:
    outcomes, classes = answers.outcomes, answers.loaded.files.lineage.classes
    return ShownImage(
        id=bytes(answers.split.ids[row]).hex(),
        true=classes[outcomes.labels[row]],
        predicted=classes[outcomes.predicted[row]],
        confidence=float(outcomes.confidence[row]),
    )


def _log(tracking: Tracking, loaded: LoadedVersion, directory: Path) -> None:
    """Log the files in the run of the version's retraining, beside its report."""
    run_id = loaded.files.record.run_id
    if run_id is None:
        return
    try:
        with mlflow_errors():
            Runs(tracking).log_files(run_id, str(directory), under="explanation")
    except (TrackingError, OSError) as error:
        log.warning("%s has the explanation; MLflow does not: %s", directory, error)
