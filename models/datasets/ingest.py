"""Ingest: a source read once, checked, and written as a batch."""

import dataclasses
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from models.config import DataParams
from models.datasets.batches import write_batch
from models.datasets.checks import Examined, Report, described, examine
from models.datasets.labelled_images import Rows, Source
from models.datasets.prepared import Finding
from models.datasets.scanning import Fault, Scanned, carved, join, survey
from models.datasets.split_assignment import assign
from models.errors import InputError

Known = Mapping[str, int]
"""Class -> images: what the dataset has already, in the order of its classes."""


@dataclass(frozen=True, slots=True)
class Ingested:
    """A source that was read."""

    classes: tuple[str, ...]
    scanned: Scanned
    """Claims are final: validation is carved where it shall be."""
    warnings: tuple[Finding, ...]


def ingest(source: Source, target: Path, data: DataParams, *, known: Known) -> Ingested:
    """Write the source as a batch at target, after checks.

    Raises InputError with every error found; target may then be there, and is no batch.
    """
    aligned, renamed = align_classes(source, known)
    pieces: list[Scanned] = []
    faults: list[Fault] = []
    write_batch(target, aligned.classes, _scanning(aligned, data, pieces, faults))
    report = _report(aligned, pieces, faults, data=data, known=known)
    if report.errors:
        raise InputError(f"{source.name}: nothing was added\n{described(report.errors)}")
    scanned = _final(pieces)
    return Ingested(aligned.classes, scanned, (*renamed, *report.warnings))


def check(source: Source, data: DataParams, *, known: Known) -> Report:
    """Say what `ingest` would find; write nothing."""
    aligned, renamed = align_classes(source, known)
    pieces: list[Scanned] = []
    faults: list[Fault] = []
    for _ in _scanning(aligned, data, pieces, faults):
        pass
    report = _report(aligned, pieces, faults, data=data, known=known)
    return Report(report.errors, (*renamed, *report.warnings))


def align_classes(source: Source, known: Known) -> tuple[Source, tuple[Finding, ...]]:
    """Call the source's classes as the dataset does.

    Folder names cannot hold every character: `T-shirt_top` means the class `T-shirt/top`. Folders
    named 0, 1, ... mean the classes of these numbers where no class is called so.
    """
    if not known or set(source.classes) <= known.keys():
        return source, ()
    names = list(known)
    spoken = {_plain(name): name for name in names}
    if all(name.isdecimal() and int(name) < len(names) for name in source.classes):
        meant = {name: names[int(name)] for name in source.classes}
    else:
        meant = {name: spoken.get(_plain(name), name) for name in source.classes}
    if len(set(meant.values())) != len(meant) or all(old == new for old, new in meant.items()):
        return source, ()
    changed = [f"{old!r} as {new!r}" for old, new in meant.items() if old != new]
    shown = ", ".join(changed[:3])
    finding = Finding(code="renamed_classes", message=f"classes are read as the dataset's: {shown}")
    return dataclasses.replace(source, classes=tuple(meant.values())), (finding,)


def _plain(name: str) -> str:
    return re.sub(r"[\W_]+", "", name).casefold()


def _scanning(
    source: Source, data: DataParams, pieces: list[Scanned], faults: list[Fault]
) -> Iterator[Rows]:
    """Yield the source's rows, noting on the way what they are."""
    for rows, found in survey(source.rows(), data):
        faults.extend(found.faults)
        if len(found.scanned):
            pieces.append(found.scanned)
        yield rows


def _report(
    source: Source, pieces: list[Scanned], faults: list[Fault], *, data: DataParams, known: Known
) -> Report:
    unreadable = tuple(
        Finding(code="unreadable", message=fault.reason, where=fault.path) for fault in faults
    )
    passed = tuple(Finding(code="passed_over", message=text) for text in source.warnings)
    if not pieces:
        nothing = Finding(code="no_images", message="holds no readable images", where=source.name)
        return Report((*unreadable, nothing), passed)
    scanned = _final(pieces)
    assignment = assign(scanned.pictures, data.model_copy(update={"conflicts": "drop"}))
    found = examine(Examined(scanned, source.classes, assignment, known), data)
    return Report((*unreadable, *found.errors), (*passed, *found.warnings))


def _final(pieces: list[Scanned]) -> Scanned:
    scanned = join(pieces)
    claims = carved(scanned.pictures.claims)
    return Scanned(dataclasses.replace(scanned.pictures, claims=claims), scanned.looks)
