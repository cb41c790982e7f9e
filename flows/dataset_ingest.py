"""Ingest: a source becomes an immutable batch of a dataset, tracked by DVC and logged."""

import tempfile
from dataclasses import dataclass
from pathlib import Path

from flows.dataset_download import fashion_mnist_folder
from flows.dataset_dvc import track
from flows.dataset_files import RAW, STAGING, data_lock
from flows.dataset_log import log_version
from models.config import DataParams
from models.datasets.batches import write_batch
from models.datasets.raw import batch_files
from models.datasets.rows import Source
from models.datasets.sources.fashion_mnist import fashion_mnist
from models.digests import digest_file
from models.errors import InputError


@dataclass(frozen=True, slots=True)
class Added:
    """A batch that was added."""

    path: Path
    images: int
    is_new: bool
    """False: the very same batch was there already."""


def ensure_ingested(data: DataParams) -> None:
    """Ingest digits or fashion-mnist where the dataset has no batches yet; others are the user's.

    Raises InputError where the files of fashion-mnist are neither installed nor can be fetched.
    """
    if batch_files(RAW / data.name):
        return
    with data_lock():
        if not batch_files(RAW / data.name) and (source := _embedded(data.name)) is not None:
            _add(source, data.name, source.name)


def add(source: Source, dataset: str, *, name: str | None = None) -> Added:
    """Write the source as a new batch of the dataset and let DVC track it.

    name: of the batch; default: the source's and the start of its digest.
    Raises InputError where another batch has that name; data/ is then as it was.
    """
    with data_lock():
        return _add(source, dataset, name)


def _embedded(name: str) -> Source | None:
    if name == "digits":
        from models.datasets.sources.digits import digits  # noqa: PLC0415 - scikit-learn: 1 s

        return digits()
    if name == "fashion-mnist":
        return fashion_mnist(fashion_mnist_folder())
    return None


def _add(source: Source, dataset: str, name: str | None) -> Added:
    STAGING.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=STAGING) as folder:
        batch = Path(folder) / "batch.parquet"
        images = write_batch(batch, source)
        if images == 0:
            raise InputError(f"{source.name}: holds no images; nothing was added")
        digest = digest_file(batch)
        target = RAW / dataset / f"{name or f'{source.name}-{digest[:8]}'}.parquet"
        is_new = not target.exists()
        if not is_new and digest_file(target) != digest:
            raise InputError(f"{target}: is another batch, and batches never change; choose --name")
        if is_new:
            _place(batch, target)
    track(dataset)
    log_version(dataset)
    return Added(target, images, is_new=is_new)


def _place(batch: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    batch.chmod(0o644)
    batch.rename(target)
