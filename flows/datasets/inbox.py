"""The inbox: deliveries become batches; bad ones are quarantined with a report."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

from filelock import FileLock, Timeout

from flows.datasets.deliveries import (
    QUARANTINE,
    TAKEN,
    claimed_deliveries,
    delivery_digest,
    inbox_state,
    irregular,
    move,
    place_for,
)
from flows.datasets.dvc import push, tracked_md5
from flows.datasets.files import RAW, data_lock
from flows.datasets.ingest import (
    SELF_INGESTING,
    add_source,
    check_source,
    ensure_ingested,
    settle_version,
)
from flows.datasets.versions import DatasetIdentity, dataset_identity
from models.config import DataParams, InboxParams, Record
from models.datasets.batches import read_batch
from models.datasets.checks import Report
from models.datasets.prepared import Finding
from models.datasets.raw import batch_files
from models.datasets.sources.paths import shown, slug
from models.errors import BusyError, InputError, IntegrityError, PitchpipeError
from models.files import write_text

_WAIT_SECONDS = 600.0


class Delivered(Record):
    """A delivery that is a batch now."""

    delivery: str
    batch: str
    """File of the batch."""
    images: int
    is_new: bool
    """False: the same images were delivered before; nothing was added."""
    warnings: tuple[Finding, ...] = ()


class Quarantined(Record):
    """A delivery that could not be added; kept with this as report.json."""

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
    """What became of an inbox."""

    added: tuple[Delivered, ...]
    quarantined: tuple[Quarantined, ...]
    arriving: tuple[str, ...]
    """Left there, for something in them changed a moment ago."""
    dataset: DatasetIdentity
    """With what was added."""


def take_deliveries(data: DataParams, inbox: InboxParams) -> Taken:
    """Add every whole delivery for data.name as a batch, checked and versioned, or quarantine it.

    A delivery is known by its content: killed at any point, the next call goes on, and nothing is
    lost or added twice. What is wrong here, not with a delivery (a full disk, DVC held), raises
    and leaves the delivery to the next call.
    Raises BusyError where another process takes deliveries for more than ten minutes.
    """
    added: list[Delivered] = []
    quarantined: list[Quarantined] = []
    with _inbox_lock():
        for delivery in claimed_deliveries(data.name, inbox):
            outcome = _take(delivery, data)
            if isinstance(outcome, Delivered):
                added.append(outcome)
            else:
                quarantined.append(outcome)
        arriving = inbox_state(data.name, inbox).arriving
    return Taken(
        added=tuple(added),
        quarantined=tuple(quarantined),
        arriving=arriving,
        dataset=dataset_identity(data.name),
    )


def _take(delivery: Path, data: DataParams) -> Delivered | Quarantined:
    digest = delivery_digest(delivery)
    links = irregular(delivery)
    if links:
        return _quarantine(delivery, digest, data, Report(links, ()))
    try:
        outcome = _known(delivery, digest, data) or _added(delivery, digest, data)
    except (InputError, IntegrityError):
        report = check_source(delivery, data)
        if not report.errors:
            raise  # the delivery is good, so that something here is not
        return _quarantine(delivery, digest, data, report)
    move(delivery, place_for(delivery, digest, TAKEN / data.name))
    return outcome


def _known(delivery: Path, digest: str, data: DataParams) -> Delivered | None:
    """Complete the batch that was made of the very same delivery, perhaps by a killed process."""
    for path in batch_files(RAW / data.name):
        if path.stem.endswith(f"-{digest[:12]}"):
            with data_lock():
                settle_version(data.name)
            push(data.name)
            images = read_batch(path).images
            return _delivered(delivery, path, images, is_new=False)
    return None


def _added(delivery: Path, digest: str, data: DataParams) -> Delivered:
    embedded = data.name in SELF_INGESTING or tracked_md5(data.name) is not None
    if embedded and not batch_files(RAW / data.name):
        # Else the delivery would be all that the dataset ever holds.
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
    """Write the report, then move the delivery beside it: broken off, it is done once more."""
    inner = Path("delivery") / delivery.name
    place = place_for(delivery, digest, QUARANTINE, inner=inner)
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
    write_text(place / "report.txt", _described(found))
    move(delivery, place / inner)
    return found


def _described(found: Quarantined) -> str:
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
            "Mend it in delivery/ beside this file, then move it into the inbox again.",
            "",
        ]
    )


@contextmanager
def _inbox_lock() -> Iterator[None]:
    lock = FileLock("data/.inbox.lock", timeout=_WAIT_SECONDS)
    try:
        with lock:
            yield
    except Timeout as error:
        raise BusyError(
            f"another pitchpipe process takes deliveries for more than {_WAIT_SECONDS:.0f} s "
            f"({lock.lock_file}); wait for it, or end it"
        ) from error
    except OSError as error:
        raise PitchpipeError(
            f"{error.filename or 'data/'}: {error.strerror or error}; what was not taken waits for "
            "the next `pitchpipe data inbox` (free space, or mend permissions)"
        ) from error
