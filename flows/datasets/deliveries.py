"""Deliveries in the inbox: detection of complete ones, claiming, digests and moves.

A delivery is a file or a folder in <inbox>/<dataset>/. It is complete when nothing in it has
changed for `inbox.settle_seconds`, by the file system's change times (ctime, which renames and
copied times do not hide). Names that begin with a dot or end in .part or .tmp are ignored, so that
a delivery can be written under such a name and renamed when it is complete.
"""

import errno
import os
import shutil
import stat
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from models.config import InboxParams
from models.datasets.prepared import Finding
from models.datasets.sources.paths import shown, slug
from models.digests import digest_file, digest_of

TAKEN = Path("data/taken")
"""Holds deliveries that were added as batches, unchanged."""
QUARANTINE = Path("data/quarantine")
CLAIMED = ".taking"
"""Folder in a dataset's inbox that holds the delivery being added, also after a kill."""
UNFINISHED = (".part", ".tmp")

now = time.time


@dataclass(frozen=True, slots=True)
class InboxState:
    """Names of deliveries, by state."""

    waiting: tuple[str, ...]
    """Complete, to be added next."""
    arriving: tuple[str, ...]
    """Empty, or changed a moment ago."""
    quarantined: tuple[str, ...]
    """Folders of data/quarantine/, each with its report; of every dataset."""
    path: str
    """Folder that deliveries for the dataset are put into."""


def inbox_state(dataset: str, inbox: InboxParams) -> InboxState:
    """List the deliveries of a dataset's inbox and of the quarantine."""
    complete = {path: _is_complete(path, inbox) for path in _entries(_folder(dataset, inbox))}
    claimed = _entries(_folder(dataset, inbox) / CLAIMED)
    return InboxState(
        waiting=tuple(
            shown(path.name) for path in [*claimed, *(one for one in complete if complete[one])]
        ),
        arriving=tuple(shown(path.name) for path in complete if not complete[path]),
        quarantined=quarantined_deliveries(),
        path=f"{inbox.path}/{dataset}",
    )


def quarantined_deliveries() -> tuple[str, ...]:
    """Return the names of the folders in the quarantine, of every dataset."""
    return tuple(path.name for path in _entries(QUARANTINE))


def claim_deliveries(dataset: str, inbox: InboxParams) -> Iterator[Path]:
    """Move each complete delivery aside, where its writer does not find it by its name; yield it.

    Those that a killed process had moved aside come first. The caller moves each one away before
    it asks for the next, and holds the inbox's lock.
    """
    folder = _folder(dataset, inbox)
    aside = folder / CLAIMED
    aside.mkdir(parents=True, exist_ok=True)
    yield from _entries(aside)
    for path in _entries(folder):
        if _is_complete(path, inbox):
            path.rename(aside / path.name)
            yield aside / path.name


def delivery_digest(delivery: Path) -> str:
    """Return the digest of the names and bytes of a delivery's files, without its own name."""
    return digest_of(
        {
            os.fsencode(path.relative_to(delivery)).hex(): _content_of(path)
            for path in _walk(delivery)
            if not path.is_dir() or path.is_symlink()
        }
    )


def find_irregular_files(delivery: Path) -> tuple[Finding, ...]:
    """Find links, which may lead out of the delivery, and special files."""
    kinds = {path: path.lstat().st_mode for path in _walk(delivery)}
    return tuple(
        Finding(
            code="irregular",
            message="is a link" if stat.S_ISLNK(mode) else "is no regular file",
            where=shown(path.relative_to(delivery.parent)),
        )
        for path, mode in kinds.items()
        if not stat.S_ISREG(mode) and not stat.S_ISDIR(mode)
    )


def free_place(delivery: Path, digest: str, folder: Path, *, inner: Path = Path()) -> Path:
    """Return a path in a folder for a delivery, of its name and digest, with nothing at `inner`."""
    name = f"{slug(delivery.stem)}-{digest[:12]}"
    places = [folder / name]
    while (places[-1] / inner).exists():
        places.append(folder / f"{name}-{len(places) + 1}")
    return places[-1]


def move(source: Path, target: Path) -> None:
    """Rename a file or folder; across file systems, copy it completely, then rename the copy."""
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        source.rename(target)
    except OSError as error:
        if error.errno != errno.EXDEV:
            raise
        copied = target.with_name(f".{target.name}.tmp")
        _remove(copied)
        if source.is_dir() and not source.is_symlink():
            shutil.copytree(source, copied, symlinks=True)
        else:
            shutil.copy2(source, copied, follow_symlinks=False)
        copied.rename(target)
        _remove(source)


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def _folder(dataset: str, inbox: InboxParams) -> Path:
    return Path(inbox.path) / dataset


def _entries(folder: Path) -> list[Path]:
    if not folder.is_dir():
        return []
    return sorted(
        path
        for path in folder.iterdir()
        if not path.name.startswith(".") and not path.name.endswith(UNFINISHED)
    )


def _is_complete(delivery: Path, inbox: InboxParams) -> bool:
    try:
        times = {path: path.lstat().st_ctime for path in _walk(delivery)}
    except OSError:
        return False  # it changes meanwhile
    filled = delivery.is_symlink() or not delivery.is_dir() or len(times) > 1
    return filled and now() - max(times.values()) >= inbox.settle_seconds


def _walk(delivery: Path) -> Iterator[Path]:
    """Yield the delivery and everything in it, without following links."""
    yield delivery
    if delivery.is_dir() and not delivery.is_symlink():
        for folder, folders, files in os.walk(delivery):
            yield from (Path(folder) / name for name in sorted(folders + files))


def _content_of(path: Path) -> str:
    if path.is_symlink():
        return f"link {os.fsencode(path.readlink()).hex()}"
    try:
        return digest_file(path) if path.is_file() else "special"
    except OSError as error:
        return f"unreadable {error.errno}"
