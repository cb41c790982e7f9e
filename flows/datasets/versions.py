"""Dataset versions, an append-only list in data/versions.jsonl behind `data log` and `restore`."""

import functools
import hashlib
import logging
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

from flows.datasets.dvc import tracked_md5
from flows.datasets.files import RAW, VERSIONS, batch_digests, holds_images, raw_version
from models.config import Record, read_record_lines
from models.datasets.raw import RawDataset, open_raw
from models.datasets.sources.relabelling import read_relabelling
from models.files import append_line

log = logging.getLogger(__name__)


class LoggedBatch(Record):
    """A batch or a relabelling of a version."""

    name: str
    """File name."""
    digest: str
    """SHA-256 of the file."""
    md5: str
    """Name of the file in DVC's cache and remotes."""
    images: int
    """Rows; of a relabelling the images that it relabels or drops."""

    @property
    def relabels(self) -> bool:
        """Whether it is a relabelling, which brings no image."""
        return not holds_images(Path(self.name))


class DatasetIdentity(Record):
    """Which version of which dataset is on disk."""

    name: str
    digest: str
    """Over the batches' digests."""
    dvc_md5: str | None
    """Under which DVC tracks the folder."""


def dataset_identity(name: str) -> DatasetIdentity:
    """Identify a dataset as it is on disk."""
    return DatasetIdentity(name=name, digest=raw_version(name).digest, dvc_md5=tracked_md5(name))


class LoggedVersion(Record):
    """A version of a dataset."""

    dataset: str
    digest: str
    """Over the batches' digests."""
    dvc_md5: str | None
    """Under which DVC tracks the folder."""
    created: str
    """ISO 8601, UTC."""
    images: int
    """Rows of all batches, copies included."""
    classes: tuple[str, ...]
    batches: tuple[LoggedBatch, ...]


def all_versions() -> list[LoggedVersion]:
    """Return the versions of all datasets, oldest first; damaged lines are logged and left out."""
    for number in damaged_lines():
        _warn_of_damage(number)
    return [line for line in _lines() if line is not None]


def damaged_lines() -> list[int]:
    """Return the numbers, from 1, of the lines of data/versions.jsonl that cannot be read."""
    return [number for number, line in enumerate(_lines(), start=1) if line is None]


def _lines() -> list[LoggedVersion | None]:
    return read_record_lines(VERSIONS, LoggedVersion.model_validate_json)


@functools.cache  # a command reads the list several times
def _warn_of_damage(number: int) -> None:
    log.warning("%s, line %d: is damaged and ignored; see `pitchpipe doctor`", VERSIONS, number)


def logged_versions(name: str) -> list[LoggedVersion]:
    """Return the dataset's versions, oldest first."""
    return [version for version in all_versions() if version.dataset == name]


def batches_after(digest: str, name: str) -> tuple[Path, ...] | None:
    """Return the batches of a dataset that its version of this digest lacks, by content.

    Relabellings bring no images and are none of them. None, with a warning, where no such version
    is logged.
    """
    found = [version for version in logged_versions(name) if version.digest == digest]
    if not found:
        log.warning(
            "data/versions.jsonl has no version %s of %s, the last one trained on: new batches "
            "cannot be identified, and none was compared; the next retraining logs its version",
            digest[:12],
            name,
        )
        return None
    known = {batch.digest for batch in found[-1].batches}
    batches = (one for one in batch_digests(name) if holds_images(one[0]))
    return tuple(path for path, batch in batches if batch not in known)


def images_since(digest: str, name: str) -> tuple[int, int, int] | None:
    """Count the images of batches that a version lacks, those it has, those relabelled since.

    None where that version or the dataset as it is now is not logged.
    """
    versions = {version.digest: version for version in logged_versions(name)}
    before, now = versions.get(digest), versions.get(raw_version(name).digest)
    if before is None or now is None:
        return None
    known = {batch.digest for batch in before.batches}
    since = [one for one in now.batches if one.digest not in known]
    came = sum(one.images for one in since if not one.relabels)
    return came, before.images, sum(one.images for one in since if one.relabels)


def log_version(name: str) -> None:
    """Append the current version of a dataset, unless the last line describes it already."""
    versions = logged_versions(name)
    version = _current(name)
    if not versions or versions[-1].digest != version.digest:
        append_line(VERSIONS, version.model_dump_json())


def arrivals(name: str) -> dict[str, int]:
    """Return for each batch that the dataset ever had the number of its first version, from 0."""
    first: dict[str, int] = {}
    for number, version in enumerate(logged_versions(name)):
        for batch in version.batches:
            first.setdefault(batch.name, number)
    return first


def _current(name: str) -> LoggedVersion:
    raw = open_raw(RAW / name)
    md5s = {batch.digest: batch.md5 for version in all_versions() for batch in version.batches}
    digests = dict(batch_digests(name))
    return LoggedVersion(
        dataset=name,
        digest=raw_version(name).digest,
        dvc_md5=tracked_md5(name),
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        images=raw.images,
        classes=raw.classes,
        batches=tuple(
            LoggedBatch(
                name=path.name,
                digest=digests[path],
                md5=md5s.get(digests[path]) or _md5(path),
                images=images,
            )
            for path, images in _sizes(raw)
        ),
    )


def _sizes(raw: RawDataset) -> Iterator[tuple[Path, int]]:
    """Yield each file of a dataset with the number of images that it is about."""
    for batch in raw.batches:
        yield batch.path, batch.images
    for path in raw.relabellings:
        yield path, len(read_relabelling(path))


def _md5(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()
