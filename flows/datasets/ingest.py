"""Adding of sources as immutable batches of a dataset, tracked by DVC and logged."""

import re
import shutil
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.client import HTTPException
from pathlib import Path

from flows.datasets.dvc import checkout, push, track, tracked_md5
from flows.datasets.files import RAW, STAGING, batch_digests, building, data_lock, raw_version
from flows.datasets.split_moves import Moves, count_moves, remember_ids
from flows.datasets.versions import (
    DatasetIdentity,
    LoggedVersion,
    dataset_identity,
    log_version,
    logged_versions,
)
from models.config import DataParams, SplitName
from models.datasets.checks import Report
from models.datasets.ingest import Known, check, ingest
from models.datasets.labelled_images import Source
from models.datasets.prepared import Finding
from models.datasets.raw import batch_files, open_raw
from models.datasets.sources.builtin import FASHION_MNIST_DIGESTS, digits, fashion_mnist
from models.datasets.sources.detect import find_source
from models.digests import digest_file
from models.errors import ConfigError, InputError, IntegrityError, PitchpipeError
from models.files import replacing

BUILTIN = ("digits", "fashion-mnist")


@dataclass(frozen=True, slots=True)
class Added:
    """Result of adding a batch."""

    batch: Path
    images: int
    classes: tuple[str, ...]
    """Of the batch, by the dataset's names."""
    is_new: bool
    """False: an identical batch was there already."""
    dataset: DatasetIdentity
    """With the batch."""
    moves: Moves
    warnings: tuple[Finding, ...]


def ensure_ingested(data: DataParams) -> None:
    """Add digits or fashion-mnist where that dataset has no batches yet.

    Any dataset that DVC tracks and that is missing, as in a fresh clone, is fetched by DVC. Raises
    InputError where there is no dataset, or the files of fashion-mnist cannot be fetched.
    """
    if batch_files(RAW / data.name):
        return
    with data_lock():
        if batch_files(RAW / data.name):
            return
        if _fetch_tracked(data.name):
            return
        source = _builtin(data.name)
        if source is None:
            raise InputError(_no_images(data.name))
        _add(source, data, name=source.name)


def _no_images(name: str) -> str:
    known = sorted({*BUILTIN, *(path.name for path in RAW.glob("*") if path.is_dir())})
    return (
        f"data.name: {name!r} has no images yet; add some by `pitchpipe data add SOURCE --dataset "
        f"{name}`, or choose one of: {', '.join(known)}"
    )


def add_builtin(data: DataParams) -> None:
    """Add digits or fashion-mnist as `ensure_ingested` does, but without DVC.

    DVC cannot be called from its own stage; `settle_version` lets it track the batch later.
    """
    if batch_files(RAW / data.name) or data.name not in BUILTIN:
        return
    with data_lock():
        source = _builtin(data.name)
        if source is not None and not batch_files(RAW / data.name):
            with staging() as folder:
                ingest(source, folder / "batch.parquet", data, known={})
                _move(folder / "batch.parquet", RAW / data.name / f"{source.name}.parquet")


def add_source(  # noqa: PLR0913 - options of `data add`, each of which stands alone
    path: Path,
    data: DataParams,
    *,
    name: str | None = None,
    kind: str | None = None,
    split: SplitName | None = None,
    skip_bad: bool = False,
) -> Added:
    """Add the images at a path to the dataset as a new batch.

    skip_bad: leave out files that cannot be read, with a warning for each. Raises ConfigError for
    an unusable name, InputError where the source is unusable.
    """
    if name is not None and not re.fullmatch(r"[a-z0-9][a-z0-9-]{0,63}", name):
        raise ConfigError(f"--name {name!r}: lower-case letters, digits and hyphens, at most 64")
    source = find_source(path, kind=kind, split=split)
    return add_batch(source, data, name=name, skip_bad=skip_bad)


def check_source(
    path: Path,
    data: DataParams,
    *,
    kind: str | None = None,
    split: SplitName | None = None,
) -> Report:
    """Check what a path holds as `add_source` does; a source that cannot be read is an error."""
    known = known_classes(data.name)
    try:
        return check(find_source(path, kind=kind, split=split), data, known=known)
    except (InputError, IntegrityError) as error:
        return Report((Finding(code="unusable", message=str(error)),), ())


def add_batch(
    source: Source, data: DataParams, *, name: str | None = None, skip_bad: bool = False
) -> Added:
    """Write the source as a new batch of data.name, after checks, and let DVC track it.

    name: of the batch; default: the source's and the start of its digest. skip_bad: leave out files
    that cannot be read, with a warning for each. Raises InputError where a check fails or another
    batch has that name; data/ is then unchanged.
    """
    with data_lock():
        return _add(source, data, name=name, skip_bad=skip_bad)


def settle_version(name: str) -> None:
    """Track and log a dataset that was changed by hand, or by an `add` that was killed.

    The caller holds data_lock. Raises IntegrityError where the content of a batch changed.
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
                f"{path}: was changed, and batches never change; "
                f"`pitchpipe data restore {last.digest[:12]}` brings it back"
            )


def known_classes(name: str) -> Known:
    """Return the images of each of the dataset's classes; empty where there is no dataset yet."""
    return open_raw(RAW / name).class_counts() if batch_files(RAW / name) else {}


def _fetch_tracked(name: str) -> bool:
    """Let DVC fetch a tracked dataset; return whether it is here.

    A built-in one need not be in any cache: a clone of a project without remote can run.
    """
    if tracked_md5(name) is None:
        return False
    try:
        checkout(name)
    except PitchpipeError:
        if name not in BUILTIN:
            raise
    return bool(batch_files(RAW / name))


def _builtin(name: str) -> Source | None:
    if name == "digits":
        return digits()
    return fashion_mnist(fashion_mnist_folder()) if name == "fashion-mnist" else None


def _add(source: Source, data: DataParams, *, name: str | None, skip_bad: bool = False) -> Added:
    with staging() as folder:
        built = folder / "batch.parquet"
        known = known_classes(data.name)
        ingested = ingest(source, built, data, known=known, skip_bad=skip_bad)
        digest = digest_file(built)
        target = RAW / data.name / f"{name or f'{source.name}-{digest[:8]}'}.parquet"
        is_new = not target.exists()
        if not is_new and digest_file(target) != digest:
            raise InputError(f"{target}: is another batch, and batches never change; choose --name")
        if is_new:
            place(built, target, data.name)
        else:
            # The process that placed it may have been killed before DVC tracked it.
            track(data.name)
    remember_ids(digest, ingested.scanned, data)
    log_version(data.name)
    push(data.name)
    again = Finding(code="already_added", message="an identical batch was there", where=str(target))
    return Added(
        batch=target,
        images=len(ingested.scanned),
        classes=ingested.classes,
        is_new=is_new,
        dataset=dataset_identity(data.name),
        moves=count_moves(digest, data),
        warnings=(*ingested.warnings, *(() if is_new else (again,))),
    )


@contextmanager
def staging() -> Iterator[Path]:
    """Yield a folder to build in, which is removed on exit."""
    try:
        with building() as folder:
            yield folder
    except OSError as error:
        raise PitchpipeError(
            f"data/: {error.strerror or error}; nothing was added; free space, or fix permissions"
        ) from error


def place(built: Path, target: Path, name: str) -> None:
    """Move a batch or relabelling in and let DVC track it; if DVC fails, remove it again.

    The caller holds `data_lock`, and then logs the version.
    """
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
"""Of the publisher; plain http, which is why digests are checked."""
_TIMEOUT_SECONDS = 60
_ADVICE = (
    "install Debian's package dataset-fashion-mnist, or `pitchpipe data add FOLDER --dataset "
    "fashion-mnist` with the four files from elsewhere"
)


def fashion_mnist_folder(*, installed: Path = INSTALLED, url: str = URL) -> Path:
    """Return a folder that holds the four files, downloading those that are missing.

    Raises InputError where a download fails, or is not the published file.
    """
    if all((installed / name).exists() for name in FASHION_MNIST_DIGESTS):
        return installed
    folder = STAGING / "fashion-mnist"
    for name, digest in FASHION_MNIST_DIGESTS.items():
        if not (folder / name).exists():
            _download(url + name, folder / name, digest)
    return folder


def _download(url: str, target: Path, digest: str) -> None:
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
