"""Status: what a dataset is now, and what changed since its last version."""

from dataclasses import dataclass

from flows.datasets.files import PREPARED, batch_digests, raw_version
from flows.datasets.restore import CacheFault, cache_faults
from flows.datasets.versions import logged_versions
from models.datasets.prepared import Manifest, read_manifest
from models.errors import PitchpipeError


@dataclass(frozen=True, slots=True)
class Status:
    """A dataset, as it is on disk."""

    name: str
    digest: str
    batches: tuple[str, ...]
    added: tuple[str, ...]
    """Batches that the last version lacks."""
    removed: tuple[str, ...]
    """Batches of the last version that are gone."""
    altered: tuple[str, ...]
    """Batches whose bytes changed under their name: never by pitchpipe."""
    cache_faults: tuple[CacheFault, ...]
    """Files of DVC's cache that are missing or corrupted, of the last version."""
    manifest: Manifest | None
    """Of the prepared arrays, where they are of this dataset."""
    is_prepared: bool
    """The arrays were made from the batches as they are now."""


def dataset_status(name: str) -> Status:
    """Compare the dataset with its last version; every byte of its cached files is read."""
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
