"""Restoring of an older version of a dataset, byte for byte, from DVC's cache or remote."""

import shutil
from pathlib import Path

from flows.datasets.current import DatasetVersion, prepare_dataset, read_resolved
from flows.datasets.dvc import cache_path, fetch, track
from flows.datasets.files import batch_digests, building, data_lock, replace_dataset
from flows.datasets.versions import LoggedBatch, LoggedVersion, all_versions, log_version
from models.config import DataParams
from models.datasets.prepared import Finding
from models.digests import digest_file
from models.errors import ConfigError, InputError, IntegrityError


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


def restore_dataset(digest: str, data: DataParams, *, dataset: str | None) -> DatasetVersion:
    """Restore the version of this digest and prepare it, by the params that prepared it last.

    data: the params otherwise;  dataset: its name, where digests of others begin likewise.
    """
    version = find_version(digest, dataset=dataset)
    restore_version(version)
    return prepare_dataset(_last_params(version.dataset, data))


def _last_params(name: str, data: DataParams) -> DataParams:
    try:
        resolved = read_resolved()
    except ConfigError:
        resolved = data
    return resolved if resolved.name == name else data.model_copy(update={"name": name})


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


def cache_faults(version: LoggedVersion) -> list[Finding]:
    """Hash every cached file of a version; DVC itself trusts times and lengths."""
    faults = []
    for batch in version.batches:
        path = cache_path(batch.md5)
        fault = "missing" if not path.exists() else "corrupted"
        if fault == "missing" or digest_file(path) != batch.digest:
            message = f"batch {batch.name} is {fault} in DVC's cache"
            faults.append(Finding(code=f"cache_{fault}", message=message, where=str(path)))
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
