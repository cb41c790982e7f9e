"""The current dataset: added, prepared by DVC's stage, verified and identified."""

import json
from dataclasses import dataclass
from pathlib import Path

import yaml
from filelock import FileLock
from pydantic import ValidationError

from flows.datasets.dvc import push, remote_url, reproduce, tracked_md5
from flows.datasets.files import (
    PREPARED,
    RAW,
    RESOLVED,
    SAMPLE_SHEETS,
    RawVersion,
    data_lock,
    raw_version,
)
from flows.datasets.ingest import add_builtin, ensure_ingested, known_classes, settle_version
from flows.datasets.versions import arrivals
from models.config import DataParams, Record, read_record
from models.config.yaml_reader import read_yaml
from models.datasets.labelled_images import SPLITS
from models.datasets.prepare import prepare, remove_abandoned
from models.datasets.prepared import MANIFEST, Manifest, open_split, read_manifest
from models.errors import ConfigError, IntegrityError, PitchpipeError
from models.files import write_text

__all__ = [
    "PREPARED",
    "DatasetVersion",
    "RawVersion",
    "class_count",
    "ensure_ingested",
    "known_manifests",
    "manifest_of",
    "prepare_dataset",
    "prepared_is_current",
    "prepared_manifest",
    "raw_version",
]


@dataclass(frozen=True, slots=True)
class DatasetVersion:
    """A prepared version of a dataset."""

    name: str
    digest: str
    """Of the batches."""
    dvc_md5: str | None
    """MD5 of the batches in DVC."""
    prepared_digest: str
    """Of the arrays."""
    prepared: Path
    """Folder of the arrays, relative to the root."""
    classes: tuple[str, ...]
    batches: tuple[str, ...]
    """File names."""
    remote: str | None
    """URL of the default DVC remote."""


def manifest_of(dataset: DatasetVersion) -> Manifest:
    """Read the manifest of a prepared dataset.

    Raises IntegrityError where another command prepared another one in its place meanwhile.
    """
    manifest = read_manifest(dataset.prepared)
    if manifest.digest != dataset.prepared_digest:
        raise IntegrityError(
            f"{dataset.prepared}: holds {manifest.digest[:12]} now, this retraining began with "
            f"{dataset.prepared_digest[:12]}; run again once nothing else prepares data here"
        )
    return manifest


def prepare_dataset(data: DataParams) -> DatasetVersion:
    """Prepare the dataset by DVC's stage, unless prepared/ is current.

    The arrays' digests are verified; arrays that were altered are made again, once. Raises
    InputError or IntegrityError as models.datasets does, PitchpipeError where DVC fails.
    """
    ensure_ingested(data)
    with data_lock():
        settle_version(data.name)
        write_resolved(data)
        reproduce()
        try:
            manifest = _verify(data)
        except IntegrityError:
            # DVC compares times and lengths: it does not see bytes that changed beneath them.
            reproduce(force=True)
            manifest = _verify(data)
        remote = remote_url()
        if remote is not None:
            push(data.name)
        raw = raw_version(data.name)
        return DatasetVersion(
            name=data.name,
            digest=raw.digest,
            dvc_md5=tracked_md5(data.name),
            prepared_digest=manifest.digest,
            prepared=PREPARED,
            classes=manifest.classes,
            batches=raw.batches,
            remote=remote,
        )


def prepare_here(data: DataParams) -> Manifest:
    """Prepare the dataset in this process, without DVC: the command of DVC's stage."""
    add_builtin(data)
    # Not data_lock, which the process that runs the stage through DVC holds.
    with FileLock("data/.prepare.lock"):
        remove_abandoned(PREPARED)
        return prepare(RAW / data.name, PREPARED, data, arrivals=arrivals(data.name))


class _Resolved(Record):
    """Content of data/prepare.yaml."""

    data: DataParams


def write_resolved(data: DataParams) -> None:
    """Write the `data:` section by which DVC's stage prepares, unless it is there already."""
    text = yaml.safe_dump({"data": data.model_dump(mode="json")}, sort_keys=False)
    if not RESOLVED.exists() or RESOLVED.read_bytes() != text.encode():
        write_text(RESOLVED, text)


def read_resolved() -> DataParams:
    """Read the `data:` section by which DVC's stage prepares.

    Raises ConfigError where it is missing or damaged.
    """
    try:
        tree = read_yaml(RESOLVED)
        return _Resolved.model_validate_json(json.dumps(tree)).data
    except (ConfigError, ValidationError) as error:
        raise ConfigError(
            f"{RESOLVED}: cannot be read ({error}); `pitchpipe prepare` writes it from params.yaml"
        ) from error


def prepared_is_current(data: DataParams) -> bool:
    """Whether prepared/ was made by these params from the present batches."""
    """Whether prepared/ was made by these params from the present batches."""
    manifest = prepared_manifest()
    return (
        manifest is not None
        and manifest.params == data
        and manifest.raw_digest == raw_version(data.name).digest
    )


def prepared_manifest() -> Manifest | None:
    """Read the manifest of the prepared arrays; None where nothing usable is prepared."""
    try:
        return read_manifest(PREPARED)
    except PitchpipeError:
        return None


def class_count(data: DataParams) -> int | None:
    """Count a dataset's classes; None where none of its images is here."""
    manifest = prepared_manifest()
    if manifest is not None and manifest.name == data.name:
        return len(manifest.classes)
    return len(known_classes(data.name)) or None


def known_manifests() -> list[Manifest]:
    """Return the manifest of the prepared arrays, then of all that were trained on, newest first.

    Those that cannot be read are left out.
    """
    files = SAMPLE_SHEETS.glob(f"*/{MANIFEST}")
    newest = sorted(files, key=lambda path: path.stat().st_mtime, reverse=True)
    trained_on = (read_record(path, Manifest) for path in newest)
    return [one for one in (prepared_manifest(), *trained_on) if one is not None]


def _verify(data: DataParams) -> Manifest:
    manifest = read_manifest(PREPARED)
    if not prepared_is_current(data):
        raise IntegrityError(
            f"{PREPARED}: was made of other batches or params than {RAW / data.name} and {RESOLVED}"
        )
    for split in SPLITS:
        open_split(PREPARED, split, verify=True)
    return manifest
