"""Drift reports in mlruns/drift/<registered name>/: JSON and a figure each."""

from datetime import datetime
from pathlib import Path

from models.config import Record, read_record
from models.files import replacing, write_text
from models.monitoring.records import DriftReport

REPORTS = Path("mlruns/drift")


class DriftRecord(Record):
    """A drift report, its version and its images."""

    id: str
    """Digest of version, images, reference and params: the same comparison has one record."""
    at: datetime
    """When the images were first compared, UTC."""
    name: str
    """Registered name."""
    version: int
    source: str
    """The path that was given, or where the batches are."""
    batches: tuple[str, ...] = ()
    """Batches that a schedule pooled; empty for a command."""
    batch_digest: str
    reference_digest: str
    trained_on: int
    """Images of the batch that the version was trained or selected on, and so knows."""
    report: DriftReport
    run_id: str | None = None
    """MLflow's run that shows it."""


def remember_drift(record: DriftRecord, *, figure: bytes | None = None) -> Path:
    """Write a record, atomically; one with the same id is replaced. Return its path.

    figure: PNG; None leaves the one that is there.
    """
    if figure is not None:
        with replacing(figure_of(record)) as temporary:
            temporary.write_bytes(figure)
    path = _path(record.name, record.id)
    write_text(path, record.model_dump_json(indent=2))
    return path


def figure_of(record: DriftRecord) -> Path:
    """Path of a record's figure, which may be missing."""
    return _path(record.name, record.id).with_suffix(".png")


def files_of(record: DriftRecord) -> tuple[Path, Path]:
    """Paths of figure and record; there is a report where the record exists."""
    return figure_of(record), _path(record.name, record.id)


def known_drift(name: str, identity: str) -> DriftRecord | None:
    """Return the record with an id, if there is one."""
    return read_record(_path(name, identity), DriftRecord)


def drift_records(name: str) -> list[DriftRecord]:
    """Return the readable records of a registered name, oldest first."""
    files = sorted((REPORTS / name).glob("*.json"))
    found = [read_record(path, DriftRecord) for path in files]
    return sorted((record for record in found if record is not None), key=lambda one: one.at)


def look_number(name: str, version: int, identity: str) -> int:
    """Number of a report among those about a version, from 1, whoever asked for them.

    A comparison that was made before keeps its number, so that it gives the same report.
    """
    known = [record for record in drift_records(name) if record.version == version]
    places = {record.id: record.report.look or at for at, record in enumerate(known, start=1)}
    return places.get(identity, max(places.values(), default=0) + 1)


def _path(name: str, identity: str) -> Path:
    return REPORTS / name / f"{identity[:16]}.json"
