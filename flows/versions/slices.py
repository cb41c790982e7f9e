"""Scores of a version by slice of today's test split, in the image form that it takes."""

from dataclasses import replace

from flows.datasets.files import PREPARED
from flows.registry.loading import load_version
from flows.registry.splits import open_split_for
from flows.tracking.store import Tracking
from models.config import Record, SplitName
from models.config.data import ImageForm
from models.datasets.class_order import map_labels
from models.datasets.prepared import Split, read_manifest
from models.datasets.sources.origins import read_origins
from models.errors import InputError
from models.evaluation.slices.records import SliceReport
from models.evaluation.slices.sliced import SliceInput, slice_test


class VersionSlices(Record):
    """A version's accuracy by slice of the test images that are prepared now."""

    name: str
    version: int
    dataset: str
    """Digest of the prepared arrays."""
    report: SliceReport


def slice_version(tracking: Tracking, wanted: str) -> VersionSlices:
    """Score a version or alias by slice, as it is served; the gate is not asked.

    Raises ConfigError where there is no such version, InputError where today's images do not fit
    it: classes that it does not know, or a form that cannot be made.
    """
    loaded = load_version(tracking, wanted)
    lineage, manifest = loaded.files.lineage, read_manifest(PREPARED)
    try:
        validation, test = (
            _open(lineage.image_form, name, lineage.classes) for name in ("validation", "test")
        )
    except InputError as error:
        raise InputError(
            f"{loaded.files.called}: {error}; prepare the data it was trained on"
        ) from None
    sliced = slice_test(
        SliceInput(
            network=loaded.network,
            validation=validation,
            test=test,
            predicted=loaded.predict(test.images).argmax(axis=1),
            classes=lineage.classes,
            origins=read_origins(PREPARED),
            threads=lineage.spec.config.threads,
        )
    )
    record = loaded.files.record
    return VersionSlices(
        name=record.name, version=record.version, dataset=manifest.digest, report=sliced.report
    )


def _open(form: ImageForm, name: SplitName, classes: tuple[str, ...]) -> Split:
    """Open a split with labels into the version's classes."""
    split = open_split_for(form, name)
    labels = map_labels(split.labels, read_manifest(PREPARED).classes, classes)
    return replace(split, labels=labels)
