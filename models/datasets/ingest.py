"""Ingest: a source is read once, checked and written as a batch."""

import dataclasses
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from models.config import DataParams
from models.datasets.batches import write_batch
from models.datasets.checks import Examined, Report, describe, examine
from models.datasets.labelled_images import EncodedRows, Rows, Source
from models.datasets.near_duplicates.clusters import together
from models.datasets.prepared import Finding
from models.datasets.scanning import Fault, Scanned, concatenate_scans, scan_pieces
from models.datasets.split_assignment import assign
from models.datasets.splits import carve_validation
from models.errors import InputError

Known = Mapping[str, int]
"""Class -> images: what the dataset has already, in the order of its classes."""


@dataclass(frozen=True, slots=True)
class Ingested:
    """A source that was read."""

    classes: tuple[str, ...]
    scanned: Scanned
    """Claims are final: validation is carved where none is declared."""
    warnings: tuple[Finding, ...]


@dataclass(frozen=True, slots=True)
class _Found:
    """What is found while a source is read."""

    pieces: list[Scanned]
    faults: list[Fault]


def ingest(
    source: Source, target: Path, data: DataParams, *, known: Known, skip_bad: bool = False
) -> Ingested:
    """Write the source as a batch at target, after checks.

    skip_bad: leave unreadable files out, each with a warning, instead of refusing the source.
    Raises InputError with every error found; target may then exist, and is no batch.
    """
    aligned, renamed = align_classes(source, known)
    found = _Found([], [])
    write_batch(target, aligned.classes, _read(aligned, data, found))
    report = _report(aligned, found, data=data, known=known, skip_bad=skip_bad)
    if report.errors:
        unreadable = any(error.code == "unreadable" for error in report.errors)
        advice = "\n`pitchpipe data add --skip-bad` leaves unreadable files out" * unreadable
        raise InputError(f"{source.name}: nothing was added\n{describe(report.errors)}{advice}")
    scanned = _carve(found.pieces)
    return Ingested(aligned.classes, scanned, (*renamed, *report.warnings))


def check(source: Source, data: DataParams, *, known: Known) -> Report:
    """Report what `ingest` would find, and write nothing."""
    aligned, renamed = align_classes(source, known)
    found = _Found([], [])
    for _ in _read(aligned, data, found):
        pass
    report = _report(aligned, found, data=data, known=known, skip_bad=False)
    return Report(report.errors, (*renamed, *report.warnings))


def align_classes(source: Source, known: Known) -> tuple[Source, tuple[Finding, ...]]:
    """Rename the source's classes to those of the dataset.

    Folder names cannot hold every character: `T-shirt_top` means the class `T-shirt/top`. Folders
    named 0, 1, ... mean the classes of these numbers where no class has such a name.
    """
    if not known or set(source.classes) <= known.keys():
        return source, ()
    names = list(known)
    plain = {_plain(name): name for name in names}
    if all(name.isdecimal() and int(name) < len(names) for name in source.classes):
        meant = {name: names[int(name)] for name in source.classes}
    else:
        meant = {name: plain.get(_plain(name), name) for name in source.classes}
    if len(set(meant.values())) != len(meant) or all(old == new for old, new in meant.items()):
        return source, ()
    changed = [f"{old!r} as {new!r}" for old, new in meant.items() if old != new]
    shown = ", ".join(changed[:3])
    finding = Finding(code="renamed_classes", message=f"classes are read as the dataset's: {shown}")
    return dataclasses.replace(source, classes=tuple(meant.values())), (finding,)


def _plain(name: str) -> str:
    return re.sub(r"[\W_]+", "", name).casefold()


def _read(source: Source, data: DataParams, found: _Found) -> Iterator[Rows]:
    """Yield the source's readable rows, and add to `found` what they are."""
    for rows, scanned, faults in scan_pieces(source.rows(), data):
        found.faults.extend(faults)
        if not len(scanned):
            continue
        found.pieces.append(scanned)
        if isinstance(rows, EncodedRows) and faults:
            bad = {fault.row for fault in faults}
            yield rows.take([row for row in range(len(rows.files)) if row not in bad])
        else:
            yield rows


def _report(
    source: Source, found: _Found, *, data: DataParams, known: Known, skip_bad: bool
) -> Report:
    code, left_out = ("skipped", "; left out") if skip_bad else ("unreadable", "")
    unreadable = tuple(
        Finding(code=code, message=f"{fault.reason}{left_out}", where=fault.path)
        for fault in found.faults
    )
    ignored = tuple(Finding(code="passed_over", message=text) for text in source.warnings)
    errors, warnings = ((), unreadable) if skip_bad else (unreadable, ())
    if not found.pieces:
        nothing = Finding(code="no_images", message="holds no readable images", where=source.name)
        return Report((*errors, nothing), (*ignored, *warnings))
    scanned = together(_carve(found.pieces), data)
    assignment = assign(scanned.pictures, data.model_copy(update={"conflicts": "drop"}))
    report = examine(Examined(scanned, source.classes, assignment, known), data)
    return Report((*errors, *report.errors), (*ignored, *warnings, *report.warnings))


def _carve(pieces: list[Scanned]) -> Scanned:
    scanned = concatenate_scans(pieces)
    claims = carve_validation(scanned.pictures.claims)
    return dataclasses.replace(
        scanned, pictures=dataclasses.replace(scanned.pictures, claims=claims)
    )
