"""Detect drift: compare images with a version's validation images, and keep and log the report."""

import itertools
import logging
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from pydantic import JsonValue

from flows.datasets.files import PREPARED
from flows.records.drift_reports import DriftRecord, known_drift, look_number, remember_drift
from flows.registry.loading import LoadedVersion, VersionFiles, load_version
from flows.registry.splits import open_split_for
from flows.tracking.drift import log_report
from flows.tracking.store import Tracking, TrackingError
from flows.versions.answered_drift import answered_batches
from models.config import DriftParams
from models.datasets.by_id import among
from models.datasets.pixels import content_ids
from models.datasets.prepared import Split, read_manifest
from models.datasets.reading import read_images, stack_images, to_pixels
from models.datasets.sources.paths import shown
from models.digests import digest_of
from models.errors import InputError, IntegrityError
from models.evaluation.inference import MINIBATCH
from models.monitoring.embedding import predict_and_embed
from models.monitoring.figure import drift_figure
from models.monitoring.report import compare
from models.monitoring.sample import Sample, gather, sample_of

log = logging.getLogger(__name__)

Piece = tuple[NDArray[np.uint8], NDArray[np.uint8], NDArray[np.int64] | None]
"""Images (n, channels, height, width), their ids (n, 32) and, where known, labels (n,)."""


@dataclass(frozen=True, slots=True)
class _Question:
    """Which images are compared, with which version, and how."""

    loaded: LoadedVersion
    drift: DriftParams
    source: str
    """In words."""
    batches: tuple[str, ...] = ()
    """As of a DriftRecord."""


def monitor_version(
    tracking: Tracking, source: Path, drift: DriftParams, *, version: str = "champion"
) -> DriftRecord:
    """Compare the images of a source with the validation split, both as a version sees them.

    source: as `predict_source` takes it. The same images compared with the same version again give
    the same report, with one record and one run in MLflow. The record is written before MLflow is
    told; where MLflow refuses, a warning is logged and `pitchpipe sync` tells it later.
    Raises ConfigError where there is no such version; InputError where an image cannot be read,
    there are too few, or the prepared data is another dataset than the version's.
    """
    loaded = load_version(tracking, version)
    question = _Question(loaded, drift, source=shown(source))
    return _report(tracking, question, _sample(loaded, source, most=drift.most_images))


def monitor_batches(
    tracking: Tracking, batches: Sequence[Path], drift: DriftParams, *, earlier: Sequence[Path] = ()
) -> DriftRecord:
    """Compare all images of batches, pooled, with the champion's validation images.

    One report: one for each batch would raise more false alarms the more batches there are. Where
    they hold fewer than drift.window_images, the first ones of `earlier` make up for it.
    A batch that cannot be read is left out, and logged. Raises as `monitor_version` does;
    InputError also where no batch can be read.
    """
    loaded = load_version(tracking, "champion")
    samples = dict(_readable(loaded, batches, drift))
    if not samples:
        raise InputError(f"none of {len(batches)} new batches can be read")
    pool = gather(samples.values(), most=drift.most_images)
    further = _readable(loaded, earlier, drift)
    while len(pool) < drift.window_images and (added := next(further, None)):
        pool = gather([pool, added[1]], most=drift.most_images)
        samples[added[0]] = added[1]
    read = tuple(map(shown, samples))
    source = read[0] if len(read) == 1 else f"{shown(batches[0].parent)} ({len(read)} batches)"
    return _report(tracking, _Question(loaded, drift, source, read), pool)


def _readable(
    loaded: LoadedVersion, batches: Iterable[Path], drift: DriftParams
) -> Iterator[tuple[Path, Sample]]:
    """Describe the images of each batch that can be read; of another, log a warning."""
    for batch in batches:
        try:
            yield batch, _sample(loaded, batch, most=drift.most_images)
        except (InputError, IntegrityError) as error:
            log.warning("%s was not compared: %s", batch, error)


def _sample(loaded: LoadedVersion, source: Path, *, most: int) -> Sample:
    return gather(_samples(loaded, _images(loaded, source)), most=most)


def _report(tracking: Tracking, question: _Question, batch: Sample) -> DriftRecord:
    reference = _known(question.loaded, question.drift)
    record = _compare(question, reference, batch)
    if known := known_drift(record.name, record.id):
        record = record.model_copy(update={"at": known.at})
    # First: what MLflow refuses now, `pitchpipe sync` tells it from here.
    path = remember_drift(record, figure=drift_figure(reference, batch, record.report))
    try:
        run_id = log_report(tracking, record)
    except (TrackingError, OSError) as error:
        log.warning("%s has the report; `pitchpipe sync` logs it in MLflow: %s", path, error)
        return record
    record = record.model_copy(update={"run_id": run_id})
    remember_drift(record)
    return record


def _known(loaded: LoadedVersion, drift: DriftParams) -> Sample:
    """Describe what images are compared with: validation, and drift that was answered in vain."""
    record = loaded.files.record
    validation = gather(_samples(loaded, _reference(loaded, drift)), most=drift.most_images)
    answered = _readable(loaded, answered_batches(record.name, record.version), drift)
    return gather([validation, *(sample for _, sample in answered)], most=drift.most_images)


def _compare(question: _Question, reference: Sample, batch: Sample) -> DriftRecord:
    files = question.loaded.files
    identity: list[JsonValue] = [
        files.record.tags["model.digest"],
        batch.digest,
        reference.digest,
        question.drift.model_dump(mode="json"),
    ]
    name, version, digest = files.record.name, files.record.version, digest_of(identity)
    report = compare(
        reference,
        batch,
        question.drift,
        classes=files.lineage.classes,
        look=look_number(name, version, digest),
    )
    return DriftRecord(
        id=digest,
        at=datetime.now(UTC),
        name=name,
        version=version,
        source=question.source,
        batches=question.batches,
        batch_digest=batch.digest,
        reference_digest=reference.digest,
        trained_on=int(np.count_nonzero(among(batch.ids, files.trained_ids))),
        report=report,
    )


def _samples(loaded: LoadedVersion, pieces: Iterable[Piece]) -> Iterator[Sample]:
    """Describe images by the network, with the threads that it was trained with: the same bits."""
    threads = loaded.files.lineage.spec.config.threads
    for images, ids, labels in pieces:
        probabilities, embeddings = predict_and_embed(loaded.network, images, threads=threads)
        yield sample_of(
            images, ids, probabilities=probabilities, embeddings=embeddings, labels=labels
        )


def _images(loaded: LoadedVersion, source: Path) -> Iterator[Piece]:
    form = loaded.files.lineage.image_form
    contents, count = read_images(source), 0
    while minibatch := list(itertools.islice(contents, MINIBATCH)):
        pictures = []
        for name, content in minibatch:
            try:
                pictures.append(to_pixels(content))
            except InputError as error:
                raise InputError(
                    f"{name}: {error}; mend it or leave it out, then monitor again"
                ) from None
        yield stack_images(pictures, form), content_ids(pictures), None
        count += len(minibatch)
    if count == 0:
        raise InputError(f"{source}: holds no image")


def _reference(loaded: LoadedVersion, drift: DriftParams) -> Iterator[Piece]:
    """Yield the reference; without labels where the version has learnt them."""
    split, known = _validation(loaded), loaded.files.lineage.classes
    rows = _reference_rows(loaded.files, split.ids, fewest=drift.minimum_images)
    learnt = loaded.files.lineage.spec.refit and among(split.ids[rows], loaded.files.trained_ids)
    # A class that the version does not know is nothing that it could have right.
    names = read_manifest(PREPARED).classes
    places = np.array([known.index(name) if name in known else -1 for name in names])
    for start in range(0, len(rows), MINIBATCH):
        part = rows[start : start + MINIBATCH]
        labels = None if np.any(learnt) else places[np.asarray(split.labels[part])]
        yield np.asarray(split.images[part]), np.asarray(split.ids[part]), labels


def _reference_rows(
    files: VersionFiles, ids: NDArray[np.uint8], *, fewest: int
) -> NDArray[np.intp]:
    """Return which of today's validation images, ids (n, 32), are the reference.

    Those that the version was selected on, and not trained on; where none of them is there, those
    that it was neither trained nor selected on. A refit was trained on all of the former: where
    there are at least `fewest` of the latter, these. Raises InputError where there is neither.
    """
    selected_on = files.validation_ids
    if files.lineage.spec.refit:
        unseen = np.flatnonzero(~among(ids, files.trained_ids))
        if len(unseen) >= fewest:
            return unseen
    rows = np.flatnonzero(among(ids, files.trained_ids if selected_on is None else selected_on))
    if len(rows):
        _warn_of_what_it_learnt(files, fewest)
        return rows
    rows = np.flatnonzero(~among(ids, files.trained_ids))
    if not len(rows):
        raise InputError(
            f"{files.called} was trained on all validation images of {PREPARED}: there is "
            "nothing to compare with. `pitchpipe prepare` the data that it was made of"
        )
    log.warning(
        "%s holds none of the validation images that %s was selected on: the reference is %d "
        "others",
        *(PREPARED, files.called, len(rows)),
    )
    return rows


def _warn_of_what_it_learnt(files: VersionFiles, fewest: int) -> None:
    if files.lineage.spec.refit:
        log.warning(
            "%s was trained on its validation images as well: beside them new images look "
            "stranger than they are, and no accuracy is expected from them; with %d images of "
            "validation that came later those are the reference",
            *(files.called, fewest),
        )
    if files.validation_ids is None:
        log.warning(
            "%s is of an earlier release, which did not tell its train images from those of "
            "validation: the reference may hold some that it was trained on",
            files.called,
        )


def _validation(loaded: LoadedVersion) -> Split:
    """Open the validation split in the version's image form."""
    lineage, name = loaded.files.lineage, read_manifest(PREPARED).name
    way_out = "`pitchpipe prepare` it with the params that made the version, or monitor another"
    if name != lineage.dataset.name:
        raise InputError(
            f"{PREPARED} holds {name}, {loaded.files.called} was made of {lineage.dataset.name}: "
            f"there is nothing to compare with. {way_out}"
        )
    try:
        return open_split_for(lineage.image_form, "validation")
    except InputError as error:
        raise InputError(f"{error}; {way_out}") from None
