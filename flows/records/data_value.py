"""What more data would bring, in mlruns/data_value/<registered name>/: JSON, a page, figures."""

from collections.abc import Mapping
from pathlib import Path

from models.evaluation.data_value.records import DataValue
from models.files import replacing, write_text
from models.record import read_record

VALUES = Path("mlruns/data_value")


def remember_value(value: DataValue, files: Mapping[str, bytes] | None = None) -> Path:
    """Write a record after its files (name -> content), each atomically; return its path."""
    for name, content in (files or {}).items():
        with replacing(folder_of(value) / name) as temporary:
            temporary.write_bytes(content)
    path = folder_of(value) / "data_value.json"
    write_text(path, value.model_dump_json(indent=2) + "\n")
    return path


def folder_of(value: DataValue) -> Path:
    """Folder of a record and its files."""
    return VALUES / value.name / value.id[:16]


def known_value(name: str, identity: str) -> DataValue | None:
    """Return the record with an id, if there is one."""
    return read_record(VALUES / name / identity[:16] / "data_value.json", DataValue)


def latest_value(name: str, dataset: str) -> DataValue | None:
    """Return the newest record of a registered name about a dataset of this name, if any."""
    records = (read_record(path, DataValue) for path in (VALUES / name).glob("*/data_value.json"))
    about = [one for one in records if one is not None and one.dataset == dataset]
    return max(about, key=lambda one: one.at, default=None)
