"""What the data commands do, and the JSON documents they answer with."""

import re
from pathlib import Path

from flows.cli.dataset_uses import RunUse, Uses, VersionUse, dataset_uses
from flows.datasets.current import prepare_dataset, prepare_here, read_resolved, write_resolved
from flows.datasets.deliveries import inbox_state
from flows.datasets.dvc import tracked_md5
from flows.datasets.files import raw_version
from flows.datasets.inbox import Delivered, Quarantined, take_deliveries
from flows.datasets.ingest import add_batch, known_classes
from flows.datasets.restore import find_version, restore_version
from flows.datasets.status import dataset_status
from flows.datasets.versions import LoggedVersion, logged_versions
from models.config import DataParams, InboxParams, Record, SplitName
from models.datasets.checks import Report
from models.datasets.ingest import check as check_source
from models.datasets.prepared import Dropped, Finding, Manifest
from models.datasets.sources.detect import Format, find_source
from models.errors import ConfigError, InputError


class DatasetDocument(Record):
    """A dataset's identity."""

    name: str
    digest: str
    dvc_md5: str | None


class MovesDocument(Record):
    """Pictures that were there before, and how many of them changed their split."""

    before: int
    moved: int


class AddedDocument(Record):
    """`data add`."""

    batch: str
    """File of the batch."""
    images: int
    classes: tuple[str, ...]
    dataset: DatasetDocument
    moves: MovesDocument
    warnings: tuple[Finding, ...]


class ReportDocument(Record):
    """`data check`."""

    errors: tuple[Finding, ...]
    warnings: tuple[Finding, ...]


class SplitDocument(Record):
    """A prepared split."""

    images: int
    digest: str


class InboxDocument(Record):
    """Of `data status`: what waits to be added, by name."""

    path: str
    """Folder that deliveries for the dataset are put into."""
    waiting: tuple[str, ...]
    arriving: tuple[str, ...]
    """Changed a moment ago, or empty."""
    quarantined: tuple[str, ...]
    """Folders of data/quarantine/, each with its report; of every dataset."""


class StatusDocument(Record):
    """`data status`."""

    name: str
    digest: str
    batches: tuple[str, ...]
    added: tuple[str, ...]
    removed: tuple[str, ...]
    altered: tuple[str, ...]
    problems: tuple[Finding, ...]
    prepared: bool
    """The splits are of the batches as they are now."""
    splits: dict[SplitName, SplitDocument]
    """Empty where nothing of this dataset is prepared."""
    inbox: InboxDocument


class TakenDocument(Record):
    """`data inbox`."""

    added: tuple[Delivered, ...]
    quarantined: tuple[Quarantined, ...]
    arriving: tuple[str, ...]
    dataset: DatasetDocument


class LogDocument(Record):
    """A line of `data log`."""

    digest: str
    dvc_md5: str | None
    created: str
    images: int
    classes: tuple[str, ...]
    batches: tuple[str, ...]
    runs: tuple[RunUse, ...] | None
    """Made from it, newest first; null where MLflow cannot be asked."""
    versions: tuple[VersionUse, ...] | None


class PreparedDocument(Record):
    """`prepare`."""

    name: str
    digest: str
    splits: dict[SplitName, SplitDocument]
    dropped: Dropped
    warnings: tuple[Finding, ...]


class RestoredDocument(Record):
    """`data restore`."""

    name: str
    digest: str
    prepared_digest: str


def add_source(
    path: Path,
    data: DataParams,
    *,
    name: str | None = None,
    kind: Format | None = None,
    split: SplitName | None = None,
    skip_bad: bool = False,
) -> AddedDocument:
    """Add a source to the dataset. Raises InputError where it is unusable."""
    if name is not None and not re.fullmatch(r"[a-z0-9][a-z0-9-]{0,63}", name):
        raise ConfigError(f"--name {name!r}: lower-case letters, digits and hyphens, at most 64")
    source = find_source(path, kind=kind, split=split)
    added = add_batch(source, data, name=name, skip_bad=skip_bad)
    return AddedDocument(
        batch=added.path.as_posix(),
        images=added.images,
        classes=added.classes,
        dataset=_dataset(data.name),
        moves=MovesDocument(before=added.moves.before, moved=added.moves.moved),
        warnings=added.warnings,
    )


def source_report(
    path: Path, data: DataParams, *, kind: Format | None, split: SplitName | None
) -> ReportDocument:
    """Check a source; one that cannot be read at all is an error of the report."""
    try:
        source = find_source(path, kind=kind, split=split)
        report = check_source(source, data, known=known_classes(data.name))
    except InputError as error:
        report = Report((Finding(code="unusable", message=str(error), where=str(path)),), ())
    return ReportDocument(errors=report.errors, warnings=report.warnings)


def take(data: DataParams, inbox: InboxParams) -> TakenDocument:
    """Take what lies in the inbox."""
    taken = take_deliveries(data, inbox)
    return TakenDocument(
        added=taken.added,
        quarantined=taken.quarantined,
        arriving=taken.arriving,
        dataset=_dataset(data.name),
    )


def status_document(data: DataParams, inbox: InboxParams) -> StatusDocument:
    """Compare the dataset with its last version."""
    found = dataset_status(data.name)
    problems = tuple(
        Finding(
            code=f"cache_{fault.fault}", message=f"of batch {fault.batch}", where=str(fault.path)
        )
        for fault in found.cache_faults
    )
    return StatusDocument(
        name=found.name,
        digest=found.digest,
        batches=found.batches,
        added=found.added,
        removed=found.removed,
        altered=found.altered,
        problems=problems,
        prepared=found.is_prepared,
        splits=_splits(found.manifest) if found.manifest else {},
        inbox=_inbox(data.name, inbox),
    )


def _inbox(name: str, inbox: InboxParams) -> InboxDocument:
    state = inbox_state(name, inbox)
    return InboxDocument(
        path=f"{inbox.path}/{name}",
        waiting=state.waiting,
        arriving=state.arriving,
        quarantined=state.quarantined,
    )


def _dataset(name: str) -> DatasetDocument:
    digest = raw_version(name).digest
    return DatasetDocument(name=name, digest=digest, dvc_md5=tracked_md5(name))


def log_documents(name: str, *, registered: str) -> list[LogDocument]:
    """List the dataset's versions, newest first, with what was registered by that name of them."""
    logged = logged_versions(name)
    uses = dataset_uses(name, registered=registered) if logged else {}
    return [
        _logged(version, uses.get(version.digest, Uses()) if uses is not None else None)
        for version in reversed(logged)
    ]


def restore_dataset(digest: str, data: DataParams, *, dataset: str | None) -> RestoredDocument:
    """Bring a version back and prepare it, with the params that prepared its dataset last."""
    version = find_version(digest, dataset=dataset)
    restore_version(version)
    prepared = prepare_dataset(_last_params(version.dataset, data))
    return RestoredDocument(
        name=version.dataset, digest=version.digest, prepared_digest=prepared.prepared_digest
    )


def prepare_document(data: DataParams) -> PreparedDocument:
    """Prepare without DVC, as its stage does."""
    write_resolved(data)
    manifest = prepare_here(data)
    return PreparedDocument(
        name=manifest.name,
        digest=manifest.digest,
        splits=_splits(manifest),
        dropped=manifest.dropped,
        warnings=manifest.checks,
    )


def _logged(version: LoggedVersion, uses: Uses | None) -> LogDocument:
    return LogDocument(
        digest=version.digest,
        dvc_md5=version.dvc_md5,
        created=version.created,
        images=version.images,
        classes=version.classes,
        batches=tuple(batch.name for batch in version.batches),
        runs=tuple(uses.runs) if uses else None,
        versions=tuple(uses.versions) if uses else None,
    )


def _last_params(name: str, data: DataParams) -> DataParams:
    try:
        resolved = read_resolved()
    except ConfigError:
        resolved = data
    return resolved if resolved.name == name else data.model_copy(update={"name": name})


def _splits(manifest: Manifest) -> dict[SplitName, SplitDocument]:
    return {
        name: SplitDocument(images=split.images, digest=split.digest)
        for name, split in manifest.splits.items()
    }
