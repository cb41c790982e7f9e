"""State of a dataset, compared with its last version."""

from dataclasses import dataclass

from flows.datasets.files import PREPARED, batch_digests, raw_version
from flows.datasets.restore import CacheFault, cache_faults
from flows.datasets.versions import logged_versions
from models.datasets.prepared import Manifest, read_manifest
from models.errors import PitchpipeError


@dataclass(frozen=True, slots=True)
class Status:
    """State of a dataset on disk."""

    name: str
    digest: str
    batches: tuple[str, ...]
    added: tuple[str, ...]
    """Batches that the last version does not have."""
    removed: tuple[str, ...]
    """Batches of the last version that are missing."""
    altered: tuple[str, ...]
    """Batches whose content changed, which pitchpipe never does."""
    cache_faults: tuple[CacheFault, ...]
    """Missing and corrupted files of the last version in DVC's cache."""
    manifest: Manifest | None
    """Of the prepared arrays, where they are of this dataset."""
    is_prepared: bool
    """Whether the arrays were made from the present batches."""


def dataset_status(name: str) -> Status:
    """Compare the dataset with its last version, reading every byte of its cached files."""
    versions = logged_versions(name)
    before = {batch.name: batch.digest for batch in versions[-1].batches} if versions else {}
    now = {path.name: digest for path, digest in batch_digests(name)}
    digest, manifest = raw_version(name).digest, _manifest(name)
    return Status(
        name=name,
        digest=digest,
        batches=tuple(now),
        added=tuple(batch for batch in now if batch not in before),
        removed=tuple(batch for batch in before if batch not in now),
        altered=tuple(batch for batch in now if before.get(batch, now[batch]) != now[batch]),
        cache_faults=tuple(cache_faults(versions[-1])) if versions else (),
        manifest=manifest,
        is_prepared=manifest is not None and manifest.raw_digest == digest,
    )


def _manifest(name: str) -> Manifest | None:
    try:
        manifest = read_manifest(PREPARED)
    except PitchpipeError:
        return None
    return manifest if manifest.name == name else None
