"""Deliveries in S3: found below a prefix, fetched whole into the local inbox, left where they are.

As in the local inbox, what lies right below the prefix is a delivery: an object, or all objects of
a folder. It is known by the names, sizes and ETags of its objects: one that changed is another. It
is complete when none of them is younger than `inbox.settle_seconds`, by the clock of the store.
"""

import shutil
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property, partial
from pathlib import Path

from flows.datasets.deliveries import CLAIMED, TAKEN, UNFINISHED
from flows.runtime.object_store import Listing, Place, StoredObject
from models.config import InboxParams, Record, read_record_lines
from models.datasets.sources.paths import shown
from models.digests import digest_of
from models.errors import PitchpipeError, UnreachableError
from models.files import append_line

FETCHED = TAKEN / "remote.jsonl"
"""A line for each delivery that was fetched: it is not fetched again."""
MOST_OBJECTS = 1_000_000
"""Below one prefix: a listing of a thousand requests, some 300 MB of memory."""
GB = 10**9
_FETCHING = ".fetching"
_AT_ONCE = 8
"""Objects fetched at a time: of small ones each is a round trip."""


@dataclass(frozen=True, slots=True)
class RemoteInbox:
    """Where deliveries are put, and how large one may be."""

    place: Place
    most_bytes: int

    def __str__(self) -> str:
        return str(self.place)


class Fetched(Record):
    """A delivery that was fetched."""

    place: str
    dataset: str
    """To which it went: another dataset may fetch it, too."""
    delivery: str
    digest: str
    """Of names, sizes and ETags."""
    objects: int
    bytes: int
    at: datetime


@dataclass(frozen=True)  # no slots: the digest is computed once
class RemoteDelivery:
    """The objects of one delivery, as they were listed."""

    name: str
    objects: tuple[StoredObject, ...]

    @cached_property
    def digest(self) -> str:
        """Of names, sizes and ETags."""
        return digest_of([[one.name, one.size, one.etag] for one in self.objects])

    @property
    def bytes(self) -> int:
        """Of all objects."""
        return sum(one.size for one in self.objects)


@dataclass(frozen=True, slots=True)
class RemoteState:
    """Deliveries that were not fetched yet."""

    waiting: tuple[RemoteDelivery, ...]
    """Complete, to be fetched next."""
    arriving: tuple[str, ...]
    """Names of those in which something changed a moment ago."""
    refused: tuple[str, ...]
    """A sentence for each that is not fetched as it is."""


@dataclass(frozen=True, slots=True)
class LeftThere:
    """Deliveries that stay in the remote inbox for now."""

    arriving: tuple[str, ...] = ()
    """Names of those in which something changed a moment ago."""
    refused: tuple[str, ...] = ()
    """A sentence for each that could not be fetched."""


def remote_state(remote: RemoteInbox, dataset: str, inbox: InboxParams) -> RemoteState:
    """List a remote inbox, without what was fetched for the dataset before.

    Raises ConfigError where the store keeps us out or there are more than a million objects,
    UnreachableError where it is away.
    """
    listing = remote.place.listing(most=MOST_OBJECTS)
    new = not_fetched(remote, dataset, _deliveries(listing.objects))
    settled = [one for one in new if _is_settled(one, listing, inbox.settle_seconds)]
    faults = {one.name: _fault(one, remote) for one in settled}
    return RemoteState(
        waiting=tuple(one for one in settled if faults[one.name] is None),
        arriving=tuple(shown(one.name) for one in new if one not in settled),
        refused=tuple(fault for fault in faults.values() if fault is not None),
    )


def not_fetched(
    remote: RemoteInbox, dataset: str, deliveries: Iterable[RemoteDelivery]
) -> tuple[RemoteDelivery, ...]:
    """Leave out the deliveries that were fetched from there for the dataset before, as they are."""
    lines = read_record_lines(FETCHED, Fetched.model_validate_json)
    known = {
        (one.delivery, one.digest)
        for one in lines
        if one and (one.place, one.dataset) == (str(remote), dataset)
    }
    return tuple(one for one in deliveries if (one.name, one.digest) not in known)


def fetch_deliveries(remote: RemoteInbox, dataset: str, inbox: InboxParams) -> LeftThere:
    """Fetch each complete delivery to where the local inbox takes it from.

    One that cannot be fetched keeps no other from it. The caller holds the inbox's lock. After a
    kill the next call fetches anew; one that was placed and not written down is known by its
    content. Raises UnreachableError where the store is away.
    """
    state = remote_state(remote, dataset, inbox)
    folder = Path(inbox.path) / dataset
    refused = [*state.refused]
    for delivery in state.waiting:
        try:
            _fetch_one(delivery, remote, dataset, folder)
        except UnreachableError:
            raise
        except PitchpipeError as error:
            refused.append(str(error))
    shutil.rmtree(folder / _FETCHING, ignore_errors=True)
    return LeftThere(arriving=state.arriving, refused=tuple(refused))


def _fetch_one(delivery: RemoteDelivery, remote: RemoteInbox, dataset: str, folder: Path) -> None:
    target = folder / CLAIMED / delivery.name
    if not target.exists() and _fetch(delivery, remote, folder / _FETCHING):
        target.parent.mkdir(parents=True, exist_ok=True)
        (folder / _FETCHING / delivery.name).rename(target)
        _write_down(delivery, remote, dataset)


def _fetch(delivery: RemoteDelivery, remote: RemoteInbox, folder: Path) -> bool:
    """Fetch into an empty folder; False where an object was changed or removed meanwhile."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    if delivery.bytes > shutil.disk_usage(folder).free:
        raise PitchpipeError(
            f"{remote}/{shown(delivery.name)}: has {delivery.bytes:,} bytes, for which "
            f"{folder.parent} has no room; free space, or let `inbox.path` name another disk"
        )
    with ThreadPoolExecutor(_AT_ONCE) as pool:
        try:
            return all(pool.map(partial(_fetch_object, remote.place, folder), delivery.objects))
        finally:
            pool.shutdown(cancel_futures=True)


def _fetch_object(place: Place, folder: Path, stored: StoredObject) -> bool:
    return place.fetch(stored, folder / stored.name)


def _write_down(delivery: RemoteDelivery, remote: RemoteInbox, dataset: str) -> None:
    fetched = Fetched(
        place=str(remote),
        dataset=dataset,
        delivery=delivery.name,
        digest=delivery.digest,
        objects=len(delivery.objects),
        bytes=delivery.bytes,
        at=datetime.now(UTC),
    )
    FETCHED.parent.mkdir(parents=True, exist_ok=True)
    append_line(FETCHED, fetched.model_dump_json())


def _deliveries(objects: Iterable[StoredObject]) -> Iterator[RemoteDelivery]:
    """Group objects by the first part of their names, without what is hidden or unfinished."""
    groups = dict[str, list[StoredObject]]()
    for stored in objects:
        name = stored.name.split("/", 1)[0]
        marks_a_folder = stored.size == 0 and stored.name[-1:] in {"", "/"}
        if not (name.startswith(".") or name.endswith(UNFINISHED) or marks_a_folder):
            groups.setdefault(name, []).append(stored)
    for name in sorted(groups):
        yield RemoteDelivery(name, tuple(sorted(groups[name], key=lambda one: one.name)))


def _is_settled(delivery: RemoteDelivery, listing: Listing, seconds: float) -> bool:
    newest = max(one.modified for one in delivery.objects)
    return (listing.at - newest).total_seconds() >= seconds


def _fault(delivery: RemoteDelivery, remote: RemoteInbox) -> str | None:
    """Say why a delivery is not fetched; None where it is."""
    where = f"{remote}/{shown(delivery.name)}"
    if delivery.bytes > remote.most_bytes:
        return (
            f"{where}: has {delivery.bytes:,} bytes, and at most {remote.most_bytes:,} are "
            "fetched; raise inbox_gb of the schedule, or --most-gb, or deliver it in parts"
        )
    bad = bad_name([one.name for one in delivery.objects])
    if bad is not None:
        return f"{where}: {shown(bad)} is no name of a file; rename that object"
    return None


def bad_name(names: Sequence[str]) -> str | None:
    """Return the first name that is no path of a file of its own below a folder; None: all are.

    `..`, empty and overlong parts, letters that control, and a name that another one takes for a
    folder.
    """
    there = set(names)
    for name in names:
        parts = name.split("/")
        above = ("/".join(parts[:length]) for length in range(1, len(parts)))
        if not all(_is_part(part) for part in parts) or any(one in there for one in above):
            return name
    return None


def _is_part(part: str) -> bool:
    fits = 0 < len(part.encode()) <= 255
    return fits and part not in {".", ".."} and "\\" not in part and part.isprintable()
