"""What `gc` may remove of label triages and of answers of `data worth`."""

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from pydantic import ConfigDict

from flows.datasets.current import prepared_manifest
from flows.datasets.files import TRIAGES
from flows.records.data_value import VALUES
from flows.runtime.scratch import bytes_of, discard
from flows.upkeep.retention import Candidate
from models.config import Record, RetentionParams, read_record
from models.retention import Stored, judge_by_age

_DAY_SECONDS = 86_400.0


class _About(Record):
    """What records of both kinds say of the data that they are about."""

    model_config = ConfigDict(extra="ignore")

    dataset: str
    dataset_digest: str
    """Of the prepared arrays."""


@dataclass(frozen=True, slots=True)
class _Analysis:
    """A folder with its record; about: None where there is none, or it cannot be read."""

    folder: Path
    written: float
    """Of its newest file, seconds since the epoch."""
    about: _About | None

    @classmethod
    def read(cls, folder: Path, record: str) -> "_Analysis":
        """Read a folder."""
        times = [path.stat().st_mtime for path in (folder, *folder.rglob("*"))]
        return cls(folder, max(times), read_record(folder / record, _About))


def analyses(policy: RetentionParams) -> Iterator[Candidate]:
    """Label triages, and what more data would bring.

    Those about the prepared arrays are needed, and so is the newest one about each dataset (of a
    registered name): schedules and `run --dry-run` weigh new data by it.
    """
    yield from _of_kind("label triage", TRIAGES, "triage.json", policy)
    yield from _of_kind("data value", VALUES, "data_value.json", policy)


def _of_kind(kind: str, place: Path, record: str, policy: RetentionParams) -> Iterator[Candidate]:
    folders = sorted(path for path in place.glob("*/*") if path.is_dir())
    found = [_Analysis.read(folder, record) for folder in folders]
    needed = _needed(found)
    stored = [
        Stored(
            "/".join(one.folder.parts[-2:]),
            days=(time.time() - one.written) / _DAY_SECONDS,
            bytes=bytes_of(one.folder),
            needed_by=needed.get(one.folder),
        )
        for one in found
    ]
    for one, judged in zip(found, judge_by_age(stored, policy.analyses_days), strict=True):
        yield Candidate(kind, judged, partial(discard, one.folder))


def _needed(found: Sequence[_Analysis]) -> dict[Path, str]:
    """Folder -> what needs it, in words."""
    manifest = prepared_manifest()
    current = manifest.digest if manifest else None
    needed: dict[Path, str] = {}
    newest: dict[tuple[str, str], Path] = {}
    for one in sorted(found, key=lambda one: one.written):
        if one.about is None:
            continue
        newest[one.folder.parent.name, one.about.dataset] = one.folder
        if one.about.dataset_digest == current:
            needed[one.folder] = "the prepared data"
    return dict.fromkeys(newest.values(), "its dataset, as the newest about it") | needed
