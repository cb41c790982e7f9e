"""Restoring of an older version of a dataset, byte for byte, from DVC's cache or remote."""

import shutil
from dataclasses import dataclass
from pathlib import Path

from flows.datasets.dvc import cache_path, fetch, track
from flows.datasets.files import batch_digests, building, data_lock, replace_dataset
from flows.datasets.versions import LoggedBatch, LoggedVersion, all_versions, log_version
from models.digests import digest_file
from models.errors import InputError, IntegrityError


@dataclass(frozen=True, slots=True)
class CacheFault:
    """A missing or corrupted file of DVC's cache."""

    path: Path
    batch: str
    fault: str


def find_version(digest: str, *, dataset: str | None = None) -> LoggedVersion:
    """Return the logged version whose digest begins with `digest`.

    Raises InputError unless there is exactly one.
    """
    versions = {
        version.digest: version
        for version in all_versions()
        if version.digest.startswith(digest) and dataset in (None, version.dataset)
    }
    if len(versions) != 1:
        raise InputError(
            f"{digest!r}: the digests of {len(versions) or 'no'} logged versions begin so; "
            "`pitchpipe data log` lists them"
        )
    return next(iter(versions.values()))


def restore_version(version: LoggedVersion) -> None:
    """Replace the dataset by a version: its batches are copied, verified and swapped in.

    Raises IntegrityError, naming the file, where a batch is neither here nor in cache or remote.
    """
    with data_lock():
        with building() as folder:
            whole = folder / version.dataset
            whole.mkdir(mode=0o755)
            copy_batches(version, whole)
            replace_dataset(whole, version.dataset)
        track(version.dataset)
        log_version(version.dataset)


def copy_batches(version: LoggedVersion, folder: Path) -> None:
    """Copy the batches of a version into a folder and verify them; the caller holds `data_lock`.

    Raises IntegrityError as `restore_version` does.
    """
    here = {digest: path for path, digest in batch_digests(version.dataset)}
    for batch in version.batches:
        source = here.get(batch.digest) or _fetch_into_cache(batch)
        shutil.copyfile(source, folder / batch.name)
        if digest_file(folder / batch.name) != batch.digest:
            raise _lost(batch, source)


def cache_faults(version: LoggedVersion) -> list[CacheFault]:
    """Hash every cached file of a version; DVC itself compares times and lengths alone."""
    faults = []
    for batch in version.batches:
        path = cache_path(batch.md5)
        if not path.exists():
            faults.append(CacheFault(path, batch.name, "missing"))
        elif digest_file(path) != batch.digest:
            faults.append(CacheFault(path, batch.name, "corrupted"))
    return faults


def _fetch_into_cache(batch: LoggedBatch) -> Path:
    path = cache_path(batch.md5)
    if path.exists() and digest_file(path) != batch.digest:
        # DVC fetches only what is missing.
        path.unlink()
    if not path.exists():
        fetch(batch.md5)
    if not path.exists():
        raise _lost(batch, path)
    return path


def _lost(batch: LoggedBatch, path: Path) -> IntegrityError:
    return IntegrityError(
        f"{path}: batch {batch.name} is missing from DVC's cache or corrupted there, and no remote "
        "has it; nothing was changed. Copy the file back there, or configure the remote that has it"
    )
