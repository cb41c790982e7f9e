"""Ingest: a source becomes an immutable batch of a dataset, tracked by DVC and logged."""

import re
import shutil
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.client import HTTPException
from pathlib import Path

from flows.datasets.dvc import bring, push, track, tracked_md5
from flows.datasets.files import RAW, STAGING, batch_digests, building, data_lock, raw_version
from flows.datasets.split_moves import Moves, moves, remember_ids
from flows.datasets.versions import (
    DatasetIdentity,
    LoggedVersion,
    dataset_identity,
    log_version,
    logged_versions,
)
from models.config import DataParams, SplitName
from models.datasets.checks import Report
from models.datasets.ingest import Ingested, Known, check, ingest
from models.datasets.labelled_images import Source
from models.datasets.prepared import Finding
from models.datasets.raw import batch_files, open_raw
from models.datasets.sources.detect import Format, find_source
from models.datasets.sources.digits import digits
from models.datasets.sources.fashion_mnist import DIGESTS, fashion_mnist
from models.digests import digest_file
from models.errors import ConfigError, InputError, IntegrityError, PitchpipeError
from models.files import replacing

SELF_INGESTING = ("digits", "fashion-mnist")


@dataclass(frozen=True, slots=True)
class Added:
    """A batch that was added, and the dataset it belongs to."""

    batch: Path
    images: int
    classes: tuple[str, ...]
    """Of the batch, as the dataset calls them."""
    is_new: bool
    """False: the very same batch was there already."""
    dataset: DatasetIdentity
    """With the batch."""
    moves: Moves
    warnings: tuple[Finding, ...]


def ensure_ingested(data: DataParams) -> None:
    """Ingest digits or fashion-mnist where the dataset has no batches yet; others are the user's.

    A dataset that DVC tracks and that is not here, as in a fresh clone, is brought by DVC.
    Raises InputError where the files of fashion-mnist are neither installed nor can be fetched.
    """
    if batch_files(RAW / data.name):
        return
    with data_lock():
        if batch_files(RAW / data.name):
            return
        if _brought(data.name):
            return
        source = _embedded(data.name)
        if source is None:
            raise InputError(_no_images(data.name))
        _add(source, data, name=source.name)


def _no_images(name: str) -> str:
    known = sorted({*SELF_INGESTING, *(path.name for path in RAW.glob("*") if path.is_dir())})
    return (
        f"data.name: {name!r} has no images yet; add some by `pitchpipe data add SOURCE --dataset "
        f"{name}`, or choose one of: {', '.join(known)}"
    )


def place_embedded(data: DataParams) -> None:
    """Ingest digits or fashion-mnist as `ensure_ingested` does, but without DVC, whose stage runs.

    DVC is not asked from within its own stage; `settle_version` has it track the batch later.
    """
    if batch_files(RAW / data.name) or data.name not in SELF_INGESTING:
        return
    with data_lock():
        source = _embedded(data.name)
        if source is not None and not batch_files(RAW / data.name):
            with _staging() as folder:
                ingest(source, folder / "batch.parquet", data, known={})
                _move(folder / "batch.parquet", RAW / data.name / f"{source.name}.parquet")


def add_source(
    path: Path,
    data: DataParams,
    *,
    name: str | None = None,
    kind: Format | None = None,
    split: SplitName | None = None,
) -> Added:
    """Add what a path holds to the dataset as a new batch.

    Raises ConfigError for an unusable name, InputError where the source is unusable.
    """
    if name is not None and not re.fullmatch(r"[a-z0-9][a-z0-9-]{0,63}", name):
        raise ConfigError(f"--name {name!r}: lower-case letters, digits and hyphens, at most 64")
    return add_batch(find_source(path, kind=kind, split=split), data, name=name)


def check_source(
    path: Path,
    data: DataParams,
    *,
    kind: Format | None = None,
    split: SplitName | None = None,
) -> Report:
    """Check what a path holds as `add_source` does; a source that cannot be read is an error."""
    known = known_classes(data.name)
    try:
        return check(find_source(path, kind=kind, split=split), data, known=known)
    except (InputError, IntegrityError) as error:
        return Report((Finding(code="unusable", message=str(error)),), ())


def add_batch(source: Source, data: DataParams, *, name: str | None = None) -> Added:
    """Write the source as a new batch of data.name, after checks, and let DVC track it.

    name: of the batch; default: the source's and the start of its digest.
    Raises InputError where a check fails or another batch has that name; data/ is then as it was.
    """
    with data_lock():
        return _add(source, data, name=name)


def settle_version(name: str) -> None:
    """Track and log a dataset that was changed otherwise than by `add`: by hand, or half by a kill.

    The caller holds data_lock. Raises IntegrityError where a batch's bytes changed under its name.
    """
    versions = logged_versions(name)
    last = versions[-1] if versions else None
    if last and last.digest == raw_version(name).digest and tracked_md5(name) is not None:
        return
    if last:
        _refuse_altered(last)
    track(name)
    log_version(name)


def _refuse_altered(last: LoggedVersion) -> None:
    before = {batch.name: batch.digest for batch in last.batches}
    for path, digest in batch_digests(last.dataset):
        if before.get(path.name, digest) != digest:
            raise IntegrityError(
                f"{path}: is not what it was, and batches never change; "
                f"`pitchpipe data restore {last.digest[:12]}` brings it back"
            )


def known_classes(name: str) -> Known:
    """Return the dataset's classes with their images; empty where there is no dataset yet."""
    return open_raw(RAW / name).class_counts() if batch_files(RAW / name) else {}


def _brought(name: str) -> bool:
    """Bring a tracked dataset by DVC; say whether it is here.

    What ingests itself need not be in any cache: a clone of a project without remote can run.
    """
    if tracked_md5(name) is None:
        return False
    try:
        bring(name)
    except PitchpipeError:
        if name not in SELF_INGESTING:
            raise
    return bool(batch_files(RAW / name))


def _embedded(name: str) -> Source | None:
    if name == "digits":
        return digits()
    return fashion_mnist(fashion_mnist_folder()) if name == "fashion-mnist" else None


def _add(source: Source, data: DataParams, *, name: str | None) -> Added:
    with _staging() as folder:
        built = folder / "batch.parquet"
        ingested = ingest(source, built, data, known=known_classes(data.name))
        digest = digest_file(built)
        target = RAW / data.name / f"{name or f'{source.name}-{digest[:8]}'}.parquet"
        is_new = not target.exists()
        if not is_new and digest_file(target) != digest:
            raise InputError(f"{target}: is another batch, and batches never change; choose --name")
        if is_new:
            _place(built, target, data.name)
        else:
            # Whoever placed it may have been killed before DVC knew.
            track(data.name)
    remember_ids(digest, ingested.scanned)
    log_version(data.name)
    push(data.name)
    return _added(ingested, target, data.name, is_new=is_new, moved=moves(digest, data))


def _added(ingested: Ingested, target: Path, dataset: str, *, is_new: bool, moved: Moves) -> Added:
    again = Finding(
        code="already_added", message="the very same batch was there", where=str(target)
    )
    return Added(
        batch=target,
        images=len(ingested.scanned),
        classes=ingested.classes,
        is_new=is_new,
        dataset=dataset_identity(dataset),
        moves=moved,
        warnings=(*ingested.warnings, *(() if is_new else (again,))),
    )


@contextmanager
def _staging() -> Iterator[Path]:
    """Give a folder to build in; what remains in it afterwards is removed."""
    try:
        with building() as folder:
            yield folder
    except OSError as error:
        raise InputError(
            f"data/: {error.strerror or error}; nothing was added (free space, or mend permissions)"
        ) from error


def _place(built: Path, target: Path, name: str) -> None:
    """Move the batch in and track it; where DVC cannot, take it out again."""
    _move(built, target)
    try:
        track(name)
    except BaseException:
        target.unlink()
        if not batch_files(target.parent):
            target.parent.rmdir()
        raise


def _move(built: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    built.chmod(0o644)
    built.rename(target)


INSTALLED = Path("/usr/share/datasets/fashion-mnist")
URL = "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/"
"""The publisher's; plain http, which is why digests are checked."""
_TIMEOUT_SECONDS = 60
_ADVICE = (
    "install Debian's package dataset-fashion-mnist, or `pitchpipe data add FOLDER --dataset "
    "fashion-mnist` with the four files from elsewhere"
)


def fashion_mnist_folder(*, installed: Path = INSTALLED, url: str = URL) -> Path:
    """Return a folder that holds the four files, fetching those that it lacks.

    Raises InputError where they cannot be fetched, or what comes is not the published file.
    """
    if all((installed / name).exists() for name in DIGESTS):
        return installed
    folder = STAGING / "fashion-mnist"
    for name, digest in DIGESTS.items():
        if not (folder / name).exists():
            _fetch(url + name, folder / name, digest)
    return folder


def _fetch(url: str, target: Path, digest: str) -> None:
    try:
        with (
            replacing(target) as temporary,
            urllib.request.urlopen(url, timeout=_TIMEOUT_SECONDS) as answer,  # noqa: S310
            temporary.open("wb") as file,
        ):
            shutil.copyfileobj(answer, file)
            file.flush()
            found = digest_file(temporary)
            if found != digest:
                raise InputError(f"{url}: SHA-256 {found} is not the published {digest}; {_ADVICE}")
    except (OSError, HTTPException) as error:
        raise InputError(f"{url}: cannot be fetched ({error}); go online, or {_ADVICE}") from error
