"""Adding of deliveries from the inbox as batches; bad ones are quarantined with a report."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

from flows.datasets.deliveries import (
    QUARANTINE,
    TAKEN,
    claim_deliveries,
    delivery_digest,
    find_irregular_files,
    free_place,
    inbox_state,
    move,
)
from flows.datasets.dvc import push, tracked_md5
from flows.datasets.files import RAW, data_lock, hold_for
from flows.datasets.ingest import (
    BUILTIN,
    add_source,
    check_source,
    ensure_ingested,
    settle_version,
)
from flows.datasets.remote_inbox import LeftThere, RemoteInbox, fetch_deliveries
from flows.datasets.versions import DatasetIdentity, dataset_identity
from models.config import DataParams, InboxParams, Record
from models.datasets.batches import read_batch
from models.datasets.checks import Report
from models.datasets.prepared import Finding
from models.datasets.raw import batch_files
from models.datasets.sources.paths import shown, slug
from models.errors import InputError, IntegrityError, PitchpipeError
from models.files import write_text


class Delivered(Record):
    """A delivery that was added as a batch."""

    delivery: str
    batch: str
    """File of the batch."""
    images: int
    is_new: bool
    """False: the same images were delivered before, and nothing was added."""
    warnings: tuple[Finding, ...] = ()


class Quarantined(Record):
    """A delivery that could not be added; this record is its report.json."""

    delivery: str
    dataset: str
    digest: str
    """Of names and bytes."""
    at: datetime
    place: str
    """Folder that holds it and its report."""
    errors: tuple[Finding, ...]
    warnings: tuple[Finding, ...] = ()


class Taken(Record):
    """Result of adding the deliveries of an inbox."""

    added: tuple[Delivered, ...]
    quarantined: tuple[Quarantined, ...]
    arriving: tuple[str, ...]
    """Left there, for something in them changed a moment ago."""
    dataset: DatasetIdentity
    """With what was added."""
    refused: tuple[str, ...] = ()
    """Sentences on deliveries of a remote inbox that were left there."""


def take_deliveries(
    data: DataParams, inbox: InboxParams, *, remote: RemoteInbox | None = None
) -> Taken:
    """Add every complete delivery for data.name as a batch, after checks, or quarantine it.

    remote: fetch those that lie there first; they are left there.

    A delivery is identified by its content: after a kill at any point the next call continues, and
    nothing is lost or added twice. An error that the delivery did not cause (a full disk, a busy
    DVC, a store that is away) is raised and leaves the delivery to the next call. Raises BusyError
    where another process takes deliveries for more than ten minutes.
    """
    added: list[Delivered] = []
    quarantined: list[Quarantined] = []
    with _inbox_lock():
        left = fetch_deliveries(remote, data.name, inbox) if remote else LeftThere()
        for delivery in claim_deliveries(data.name, inbox):
            outcome = _take(delivery, data)
            if isinstance(outcome, Delivered):
                added.append(outcome)
            else:
                quarantined.append(outcome)
        arriving = inbox_state(data.name, inbox).arriving
    return Taken(
        added=tuple(added),
        quarantined=tuple(quarantined),
        arriving=(*arriving, *left.arriving),
        dataset=dataset_identity(data.name),
        refused=left.refused,
    )


def _take(delivery: Path, data: DataParams) -> Delivered | Quarantined:
    digest = delivery_digest(delivery)
    links = find_irregular_files(delivery)
    if links:
        return _quarantine(delivery, digest, data, Report(links, ()))
    try:
        outcome = _find_added(delivery, digest, data) or _add(delivery, digest, data)
    except (InputError, IntegrityError):
        report = check_source(delivery, data)
        if not report.errors:
            raise  # the delivery is good: the fault is elsewhere
        return _quarantine(delivery, digest, data, report)
    move(delivery, free_place(delivery, digest, TAKEN / data.name))
    return outcome


def _find_added(delivery: Path, digest: str, data: DataParams) -> Delivered | None:
    """Return the batch of an identical delivery, completed if its process was killed."""
    for path in batch_files(RAW / data.name):
        if path.stem.endswith(f"-{digest[:12]}"):
            with data_lock():
                settle_version(data.name)
            push(data.name)
            images = read_batch(path).images
            return _delivered(delivery, path, images, is_new=False)
    return None


def _add(delivery: Path, digest: str, data: DataParams) -> Delivered:
    has_more = data.name in BUILTIN or tracked_md5(data.name) is not None
    if has_more and not batch_files(RAW / data.name):
        # Otherwise the delivery would be taken for the whole dataset.
        ensure_ingested(data)
    name = f"{slug(delivery.stem)}-{digest[:12]}"
    added = add_source(delivery, data, name=name)
    found = _delivered(delivery, added.batch, added.images, is_new=True)
    return found.model_copy(update={"warnings": added.warnings})


def _delivered(delivery: Path, batch: Path, images: int, *, is_new: bool) -> Delivered:
    return Delivered(
        delivery=shown(delivery.name), batch=batch.as_posix(), images=images, is_new=is_new
    )


def _quarantine(delivery: Path, digest: str, data: DataParams, report: Report) -> Quarantined:
    """Write the report, then move the delivery beside it; if interrupted, this is repeated."""
    inner = Path("delivery") / delivery.name
    place = free_place(delivery, digest, QUARANTINE, inner=inner)
    found = Quarantined(
        delivery=shown(delivery.name),
        dataset=data.name,
        digest=digest,
        at=datetime.now(UTC),
        place=place.as_posix(),
        errors=report.errors,
        warnings=report.warnings,
    )
    write_text(place / "report.json", found.model_dump_json(indent=2))
    write_text(place / "report.txt", _format(found))
    move(delivery, place / inner)
    return found


def _format(found: Quarantined) -> str:
    when = found.at.strftime("%Y-%m-%d %H:%M UTC")
    findings = [("error", found.errors), ("warning", found.warnings)]
    lines = [
        f"{word}: {f'{one.where}: ' if one.where else ''}{one.message} [{one.code}]"
        for word, group in findings
        for one in group
    ]
    return "\n".join(
        [
            f"{found.delivery} was delivered for {found.dataset} and not added ({when}).",
            *lines,
            "Correct it in delivery/ beside this file, then move it into the inbox again.",
            "",
        ]
    )


@contextmanager
def _inbox_lock() -> Iterator[None]:
    try:
        with hold_for("takes deliveries", Path("data/.inbox.lock")):
            yield
    except OSError as error:
        raise PitchpipeError(
            f"{error.filename or 'data/'}: {error.strerror or error}; what was not taken waits for "
            "the next `pitchpipe data inbox` (free space, or correct permissions)"
        ) from error
