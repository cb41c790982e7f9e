"""Batches whose drift was answered by a retraining that left the champion in service."""

from pathlib import Path

from flows.datasets.versions import batches_after
from flows.records.drift_reports import drift_records
from flows.retraining.decide import last_of_name


def answered_batches(name: str, version: int) -> list[Path]:
    """Return the batches that were called drift from a version, and that a retraining has had.

    Where the version is still the champion, they join what new images are compared with: the same
    question is not asked twice. Of unchanged images this makes the next alarm as unlikely as the
    first. Whether a split of exchangeable images into reference and batch was an alarm says nothing
    about all of them together, and these are what the next images are compared with.
    """
    alarms = [
        one
        for one in drift_records(name)
        if one.version == version and one.batches and one.report.drift
    ]
    last = last_of_name(name) if alarms else None
    if last is None:
        return []
    paths = dict.fromkeys(Path(batch) for one in alarms for batch in one.batches)
    folders = {path.parent.name for path in paths}
    unanswered = {folder: batches_after(last.fingerprint.data, folder) for folder in folders}
    return [path for path in paths if _is_answered(path, unanswered[path.parent.name])]


def _is_answered(path: Path, unanswered: tuple[Path, ...] | None) -> bool:
    return unanswered is not None and path not in unanswered and path.exists()
