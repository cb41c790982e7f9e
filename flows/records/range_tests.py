"""Learning rate range tests in mlruns/lr_find/<registered name>/: JSON and a figure each."""

from datetime import datetime
from pathlib import Path

from models.config import Record, TrialConfig, read_record
from models.files import replacing, write_text
from models.search.learning_rate_range import RangeTest

RANGE_TESTS = Path("mlruns/lr_find")


class RangeTestRecord(Record):
    """A range test, its config and its images."""

    id: str
    """Digest of config, images, range, code and packages: the same test has one record."""
    at: datetime
    """When it was first made, UTC."""
    name: str
    """Registered name."""
    dataset: str
    """Name of the dataset."""
    dataset_digest: str
    """Of the prepared arrays, of which train alone was read."""
    config: TrialConfig
    test: RangeTest
    suggested: float | None
    """Learning rate; null: the loss fell at none."""
    run_id: str | None = None
    """MLflow's run that shows it."""


def remember_range_test(record: RangeTestRecord, figure: bytes) -> Path:
    """Write a record and its figure, PNG, each atomically; return the record's path."""
    with replacing(range_figure_of(record)) as temporary:
        temporary.write_bytes(figure)
    path = _path(record.name, record.id)
    write_text(path, record.model_dump_json(indent=2))
    return path


def known_range_test(name: str, identity: str) -> RangeTestRecord | None:
    """Return the record with an id, if there is one."""
    return read_record(_path(name, identity), RangeTestRecord)


def range_figure_of(record: RangeTestRecord) -> Path:
    """Path of a record's figure."""
    return _path(record.name, record.id).with_suffix(".png")


def _path(name: str, identity: str) -> Path:
    return RANGE_TESTS / name / f"{identity[:16]}.json"
