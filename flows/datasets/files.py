"""Paths, locks and digests of the project's datasets."""

import contextlib
import json
import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path

from pydantic import TypeAdapter, ValidationError

from flows.runtime.locks import hold
from models.datasets.raw import RELABELLING, dataset_files, raw_digest
from models.digests import digest_file
from models.files import write_text

RAW = Path("data/raw")
PREPARED = Path("data/prepared")
RESOLVED = Path("data/prepare.yaml")
"""The `data:` section by which prepared/ is made; the params file of DVC's stage."""
VERSIONS = Path("data/versions.jsonl")
SAMPLE_SHEETS = Path("mlruns/datasets")
"""Holds a sheet of samples and the manifest of all arrays trained on, by their digest."""
STAGING = Path("data/.staging")
"""Holds what is being built, on the file system of data/, so that a rename completes it."""
REPLACED = Path("data/.replaced.old")
"""Holds datasets while another version replaces them; put back where that was interrupted."""
_BUILDING = "building-"
_DIGESTS = Path("data/.digests.json")
_WAIT_SECONDS = 600.0


@dataclass(frozen=True, slots=True)
class RawVersion:
    """The batches and relabellings of a dataset, as they are on disk."""

    name: str
    digest: str
    """Over the files' digests; names and order do not count."""
    batches: tuple[str, ...]
    """File names."""


def raw_version(name: str) -> RawVersion:
    """Return the files that a dataset has now; an absent dataset has none.

    A file is hashed once: its digest is cached for as long as the file's device, inode, length and
    times do not change.
    """
    files = batch_digests(name)
    return RawVersion(
        name=name,
        digest=raw_digest([digest for _, digest in files]),
        batches=tuple(path.name for path, _ in files),
    )


def holds_images(path: Path) -> bool:
    """Whether a file of a dataset is a batch; a relabelling holds labels alone."""
    return not path.name.endswith(RELABELLING)


def batch_digests(name: str) -> list[tuple[Path, str]]:
    """Return each batch, then each relabelling, with the SHA-256 of its bytes.

    Digests are cached while the file does not change.
    """
    known = _read_digests()
    files = dataset_files(RAW / name)
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
    """Yield a folder to build in, removed on exit; the caller holds `data_lock`."""
    STAGING.mkdir(parents=True, exist_ok=True)
    try:
        with tempfile.TemporaryDirectory(dir=STAGING, prefix=_BUILDING) as folder:
            yield Path(folder)
    finally:
        # Fails where downloads are there, which are kept so that they need not be repeated.
        with contextlib.suppress(OSError):
            STAGING.rmdir()


def replace_dataset(new: Path, name: str) -> None:
    """Replace a dataset by a folder, entirely or not at all, whenever the process is killed.

    The caller holds `data_lock`.
    """
    target, old = RAW / name, REPLACED / name
    REPLACED.mkdir(exist_ok=True)
    if target.exists():
        target.rename(old)
    new.rename(target)
    shutil.rmtree(REPLACED, ignore_errors=True)


def _undo_interrupted() -> None:
    """Put back a dataset whose replacement was interrupted, and remove half-built folders."""
    for old in REPLACED.iterdir() if REPLACED.is_dir() else ():
        if not (RAW / old.name).exists():
            old.rename(RAW / old.name)
    shutil.rmtree(REPLACED, ignore_errors=True)
    for folder in STAGING.glob(f"{_BUILDING}*"):
        shutil.rmtree(folder, ignore_errors=True)


def _stamp(path: Path) -> str:
    """Return the file's identity and times, of which any write changes one."""
    status = path.stat()
    times = f"{status.st_mtime_ns}:{status.st_ctime_ns}"
    return f"{path}:{status.st_dev}:{status.st_ino}:{status.st_size}:{times}"


def _is_settled(path: Path) -> bool:
    """Whether the file is older than a second: two writes in a clock tick could share a stamp."""
    return time.time() - path.stat().st_ctime > 1


def _read_digests() -> dict[str, str]:
    try:
        return TypeAdapter(dict[str, str]).validate_json(_DIGESTS.read_bytes())
    except (OSError, ValidationError):
        return {}


@contextmanager
def data_lock() -> Iterator[None]:
    """Hold the lock on data/, for which another process waits up to ten minutes.

    What a holder that died had begun is undone by the next. Raises BusyError after ten minutes.
    """
    with hold_for("changes data/", Path("data/.pitchpipe.lock")):
        _undo_interrupted()
        yield


def hold_for(action: str, lock: Path) -> AbstractContextManager[object]:
    """Hold a lock on data/. Raises BusyError, naming the action, after ten minutes."""
    busy = (
        f"another pitchpipe process {action} for more than {_WAIT_SECONDS:.0f} s ({lock}); "
        "wait for it, or end it"
    )
    return hold(lock, seconds=_WAIT_SECONDS, busy=lambda: busy)


TRIAGES = Path("mlruns/triage")
"""Holds <dataset>/<id>/ of each label triage: probabilities, page and list."""
