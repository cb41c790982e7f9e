"""State of a dataset on disk, compared with its last version."""

from dataclasses import dataclass

from flows.datasets.current import prepared_manifest
from flows.datasets.deliveries import InboxState, inbox_state
from flows.datasets.files import batch_digests, raw_version
from flows.datasets.restore import cache_faults
from flows.datasets.versions import logged_versions
from models.config import DataParams, InboxParams, SplitName
from models.datasets.prepared import Finding, SplitInfo


@dataclass(frozen=True, slots=True)
class DatasetStatus:
    """A dataset as it is on disk."""

    name: str
    digest: str
    batches: tuple[str, ...]
    added: tuple[str, ...]
    """Batches that the last version does not have."""
    removed: tuple[str, ...]
    """Batches of the last version that are missing."""
    altered: tuple[str, ...]
    """Batches whose bytes changed under their name: never by pitchpipe."""
    problems: tuple[Finding, ...]
    """Files of DVC's cache that are missing or corrupted, of the last version."""
    prepared: bool
    """The splits were made from the batches as they are now."""
    splits: dict[SplitName, SplitInfo]
    """Empty where nothing of this dataset is prepared."""
    inbox: InboxState


def dataset_status(data: DataParams, inbox: InboxParams) -> DatasetStatus:
    """Compare the dataset with its last version; every byte of its cached files is read."""
    versions = logged_versions(data.name)
    before = {batch.name: batch.digest for batch in versions[-1].batches} if versions else {}
    now = {path.name: digest for path, digest in batch_digests(data.name)}
    digest, manifest = raw_version(data.name).digest, prepared_manifest()
    if manifest is not None and manifest.name != data.name:
        manifest = None
    return DatasetStatus(
        name=data.name,
        digest=digest,
        batches=tuple(now),
        added=tuple(batch for batch in now if batch not in before),
        removed=tuple(batch for batch in before if batch not in now),
        altered=tuple(batch for batch in now if before.get(batch, now[batch]) != now[batch]),
        problems=tuple(cache_faults(versions[-1])) if versions else (),
        prepared=manifest is not None and manifest.raw_digest == digest,
        splits=manifest.splits if manifest else {},
        inbox=inbox_state(data.name, inbox),
    )
