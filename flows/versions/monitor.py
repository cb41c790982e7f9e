"""Monitoring: images compared with those of validation; remembered, and shown in MLflow."""

import itertools
import logging
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from pydantic import JsonValue

from flows.records.drift_reports import DriftRecord, known_drift, remember_drift
from flows.registry.loading import LoadedVersion, VersionFiles, load_version
from flows.tracking.drift import log_report
from flows.tracking.store import Tracking, TrackingError
from models.config import DriftParams
from models.datasets.pixels import content_id
from models.datasets.prepared import Split, open_split, read_manifest
from models.datasets.reading import read_images, stack_images, to_pixels
from models.datasets.sources.paths import shown
from models.digests import digest_of
from models.errors import InputError, IntegrityError
from models.evaluation.inference import MINIBATCH
from models.monitoring.embedding import look
from models.monitoring.figure import drift_figure
from models.monitoring.report import compare
from models.monitoring.sample import Sample, gathered, sample_of

log = logging.getLogger(__name__)

PREPARED = Path("data/prepared")
Piece = tuple[NDArray[np.uint8], NDArray[np.uint8]]
"""Images (n, channels, height, width) and their ids (n, 32)."""


@dataclass(frozen=True, slots=True)
class _Asked:
    """What is asked of images: whether they come from where the version's came from."""

    loaded: LoadedVersion
    drift: DriftParams
    source: str
    """In words."""
    batches: tuple[str, ...] = ()
    """As of a DriftRecord."""


def monitor_version(
    tracking: Tracking, source: Path, drift: DriftParams, *, version: str = "champion"
) -> DriftRecord:
    """Compare the images of a source with the validation split, as a version sees both.

    source: as `predict_source` takes it. The same images asked again about the same
    version are the same report: its record and its run in MLflow stay, and are not doubled. It is
    remembered before it is shown: where MLflow does not take it, a warning says so.
    Raises ConfigError where there is no such version; InputError where an image cannot be read,
    there are too few, or the prepared data is not of the version's kind.
    """
    loaded = load_version(tracking, version)
    asked = _Asked(loaded, drift, source=shown(source))
    return _answer(tracking, asked, _sample(loaded, source, most=drift.most_images))


def monitor_batches(tracking: Tracking, batches: Sequence[Path], drift: DriftParams) -> DriftRecord:
    """Compare all images of batches, pooled, as `monitor` does, with those of the champion.

    One report, where one for each batch would cry wolf the more often the more batches there are.
    A batch that cannot be read is left out, and said. Raises as `monitor` does; InputError also
    where none can be read.
    """
    loaded = load_version(tracking, "champion")
    pool: Sample | None = None
    read = []
    for batch in batches:
        try:
            sample = _sample(loaded, batch, most=drift.most_images)
        except (InputError, IntegrityError) as error:
            log.warning("%s was not compared: %s", batch, error)
            continue
        pool = gathered([sample] if pool is None else [pool, sample], most=drift.most_images)
        read.append(shown(batch))
    if pool is None:
        raise InputError(f"none of {len(batches)} new batches can be read")
    source = read[0] if len(read) == 1 else f"{shown(batches[0].parent)} ({len(read)} batches)"
    return _answer(tracking, _Asked(loaded, drift, source, tuple(read)), pool)


def _sample(loaded: LoadedVersion, source: Path, *, most: int) -> Sample:
    return gathered(_seen(loaded, _images(loaded, source)), most=most)


def _answer(tracking: Tracking, asked: _Asked, batch: Sample) -> DriftRecord:
    loaded, most = asked.loaded, asked.drift.most_images
    reference = gathered(_seen(loaded, _reference(loaded)), most=most)
    record = _recorded(asked, reference, batch)
    if known := known_drift(record.name, record.id):
        record = record.model_copy(update={"at": known.at})
    # First: what MLflow does not take now, `pitchpipe sync` tells it from here.
    path = remember_drift(record, figure=drift_figure(reference, batch, record.report))
    try:
        run_id = log_report(tracking, record)
    except (TrackingError, OSError) as error:
        log.warning("%s holds the report; MLflow will by `pitchpipe sync`: %s", path, error)
        return record
    record = record.model_copy(update={"run_id": run_id})
    remember_drift(record)
    return record


def _recorded(asked: _Asked, reference: Sample, batch: Sample) -> DriftRecord:
    files = asked.loaded.files
    report = compare(reference, batch, asked.drift, classes=files.lineage.classes)
    question: list[JsonValue] = [
        files.record.tags["model.digest"],
        batch.digest,
        reference.digest,
        asked.drift.model_dump(mode="json"),
    ]
    return DriftRecord(
        id=digest_of(question),
        at=datetime.now(UTC),
        name=files.record.name,
        version=files.record.version,
        source=asked.source,
        batches=asked.batches,
        batch_digest=batch.digest,
        reference_digest=reference.digest,
        trained_on=int(np.count_nonzero(_among(batch.ids, files.trained_ids))),
        report=report,
    )


def _seen(loaded: LoadedVersion, pieces: Iterable[Piece]) -> Iterator[Sample]:
    """See images through the network, with the threads that it was trained with: the same bits."""
    threads = loaded.files.lineage.spec.config.threads
    for images, ids in pieces:
        probabilities, embeddings = look(loaded.network, images, threads=threads)
        yield sample_of(images, ids, probabilities=probabilities, embeddings=embeddings)


def _images(loaded: LoadedVersion, source: Path) -> Iterator[Piece]:
    shape = loaded.files.lineage.image_shape
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
        ids = np.frombuffer(b"".join(map(content_id, pictures)), np.uint8).reshape(-1, 32)
        yield stack_images(pictures, shape), ids
        count += len(minibatch)
    if count == 0:
        raise InputError(f"{source}: holds no image")


def _reference(loaded: LoadedVersion) -> Iterator[Piece]:
    split = _validation(loaded)
    rows = _reference_rows(loaded.files, split.ids)
    for start in range(0, len(rows), MINIBATCH):
        part = rows[start : start + MINIBATCH]
        yield np.asarray(split.images[part]), np.asarray(split.ids[part])


def _reference_rows(files: VersionFiles, ids: NDArray[np.uint8]) -> NDArray[np.intp]:
    """Which of today's validation images, ids (n, 32), to compare with.

    Those that the version was selected on: it has seen them, and was not trained on them. Where
    none of them is here, those that it knows nothing of. Raises InputError where there is neither.
    """
    selected_on = files.validation_ids
    rows = np.flatnonzero(_among(ids, files.trained_ids if selected_on is None else selected_on))
    if len(rows):
        if selected_on is None:
            log.warning(
                "%s is of an earlier release, which did not tell its train images from those of "
                "validation: the reference may hold some that it was trained on",
                files.called,
            )
        return rows
    rows = np.flatnonzero(~_among(ids, files.trained_ids))
    if not len(rows):
        raise InputError(
            f"{files.called} was trained on all validation images of data/prepared: there is "
            "nothing to compare with. `pitchpipe prepare` the data that it was made of"
        )
    log.warning(
        "data/prepared holds none of the validation images that %s was selected on: the reference "
        "is %d others",
        files.called,
        len(rows),
    )
    return rows


def _validation(loaded: LoadedVersion) -> Split:
    lineage, called = loaded.files.lineage, loaded.files.called
    manifest = read_manifest(PREPARED)
    split = open_split(PREPARED, "validation", verify=True)
    wanted = (lineage.dataset.name, lineage.image_shape)
    if (manifest.name, split.images.shape[1:]) != wanted:
        raise InputError(
            f"data/prepared holds {manifest.name} as images of {split.images.shape[1:]}, {called} "
            f"was made of {wanted[0]} as {wanted[1]}: there is nothing to compare with. "
            "`pitchpipe prepare` it with the params that made the version, or monitor another"
        )
    return split


def _among(ids: NDArray[np.uint8], known: NDArray[np.uint8]) -> NDArray[np.bool_]:
    """Which of ids (n, 32) are among known ones (m, 32)."""
    there = {row.tobytes() for row in known}
    return np.fromiter((row.tobytes() in there for row in ids), np.bool_, len(ids))
