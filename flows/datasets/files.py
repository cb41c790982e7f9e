"""Where datasets live in the project, who may touch them, and what the raw ones are now."""

import contextlib
import json
import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from filelock import FileLock, Timeout
from pydantic import TypeAdapter, ValidationError

from models.datasets.raw import batch_files, raw_digest
from models.digests import digest_file
from models.errors import BusyError
from models.files import write_text

RAW = Path("data/raw")
PREPARED = Path("data/prepared")
RESOLVED = Path("data/prepare.yaml")
"""The `data:` section that prepared/ is made by; the stage's params for DVC."""
VERSIONS = Path("data/versions.jsonl")
SAMPLE_SHEETS = Path("mlruns/datasets")
"""Holds a sheet of samples and the manifest of all arrays trained on, by their digest."""
STAGING = Path("data/.staging")
"""What is being built; on the file system of data/, so that a rename finishes it."""
REPLACED = Path("data/.replaced.old")
"""Datasets that another version is taking the place of; put back where that was broken off."""
_BUILDING = "building-"
_DIGESTS = Path("data/.digests.json")
_WAIT_SECONDS = 600.0


@dataclass(frozen=True, slots=True)
class RawVersion:
    """The batches of a dataset, as they are on disk."""

    name: str
    digest: str
    """Over the batches' digests; names and order do not count."""
    batches: tuple[str, ...]
    """File names."""


def raw_version(name: str) -> RawVersion:
    """Say which batches a dataset has now; an absent dataset has none.

    A batch is hashed once: its digest is remembered for as long as the file's device, inode,
    length and times stay as they were.
    """
    files = batch_files(RAW / name)
    return RawVersion(
        name=name,
        digest=raw_digest([digest for _, digest in batch_digests(name)]),
        batches=tuple(path.name for path in files),
    )


def batch_digests(name: str) -> list[tuple[Path, str]]:
    """Return each batch with the SHA-256 of its bytes, remembered while the file is unchanged."""
    known = _remembered()
    files = batch_files(RAW / name)
    settled = {path for path in files if _is_settled(path)}
    now = {path: _stamp(path) for path in files}
    digests = {
        path: known[stamp] if stamp in known else digest_file(path) for path, stamp in now.items()
    }
    learnt = {now[path]: digests[path] for path in settled if now[path] not in known}
    if learnt:
        write_text(_DIGESTS, json.dumps(known | learnt, indent=0))
    return list(digests.items())


@contextmanager
def building() -> Iterator[Path]:
    """Give a folder to build in, removed afterwards; the caller holds `data_lock`."""
    STAGING.mkdir(parents=True, exist_ok=True)
    try:
        with tempfile.TemporaryDirectory(dir=STAGING, prefix=_BUILDING) as folder:
            yield Path(folder)
    finally:
        # Not what else is there: downloads are kept, so that they need not be repeated.
        with contextlib.suppress(OSError):
            STAGING.rmdir()


def replace_dataset(new: Path, name: str) -> None:
    """Put a folder in a dataset's place, whole or not at all, whenever the process is killed.

    The caller holds `data_lock`.
    """
    target, old = RAW / name, REPLACED / name
    REPLACED.mkdir(exist_ok=True)
    if target.exists():
        target.rename(old)
    new.rename(target)
    shutil.rmtree(REPLACED, ignore_errors=True)


def _undo_broken_off() -> None:
    """Put back a dataset that was moved away for one that never came; remove half-built folders."""
    for old in REPLACED.iterdir() if REPLACED.is_dir() else ():
        if not (RAW / old.name).exists():
            old.rename(RAW / old.name)
    shutil.rmtree(REPLACED, ignore_errors=True)
    for folder in STAGING.glob(f"{_BUILDING}*"):
        shutil.rmtree(folder, ignore_errors=True)


def _stamp(path: Path) -> str:
    """The file as the file system describes it: any write changes one of these."""
    status = path.stat()
    times = f"{status.st_mtime_ns}:{status.st_ctime_ns}"
    return f"{path}:{status.st_dev}:{status.st_ino}:{status.st_size}:{times}"


def _is_settled(path: Path) -> bool:
    """Two writes within a clock tick could leave one stamp: what is this fresh is not trusted."""
    return time.time() - path.stat().st_ctime > 1


def _remembered() -> dict[str, str]:
    try:
        return TypeAdapter(dict[str, str]).validate_json(_DIGESTS.read_bytes())
    except (OSError, ValidationError):
        return {}


@contextmanager
def data_lock() -> Iterator[None]:
    """Let one process at a time change data/; another waits up to ten minutes.

    Raises BusyError after that. A holder that dies releases it; what it had broken off is undone
    by the next.
    """
    lock = FileLock("data/.pitchpipe.lock", timeout=_WAIT_SECONDS)
    try:
        with lock:
            _undo_broken_off()
            yield
    except Timeout as error:
        raise BusyError(
            f"data/ is held by another pitchpipe process for more than {_WAIT_SECONDS:.0f} s "
            f"({lock.lock_file}); wait for it, or end it"
        ) from error
