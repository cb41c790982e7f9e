"""A version's files on this host: MLflow's own, or one copy in mlruns/ where they are remote."""

import contextlib
import os
import re
import shutil
from pathlib import Path

import mlflow
from mlflow.utils.file_utils import local_file_uri_to_path
from mlflow.utils.uri import is_local_uri

from flows.registry.packing import files_digest
from flows.registry.records import VersionRecord
from flows.runtime.scratch import scratch_folder
from flows.tracking.store import Tracking
from models.errors import IntegrityError

KEPT = Path("mlruns/versions")
"""Copies of versions whose artifacts are remote, named by their digests."""


def fetch_files(tracking: Tracking, record: VersionRecord, digest: str) -> Path:
    """Return the folder of a version's files, which the caller checks against the digest.

    Remote ones are copied once: MLflow leaves a new temporary copy at every call. Raises
    IntegrityError where the digest is no SHA-256.
    """
    uri = f"models:/{record.name}/{record.version}"
    where = tracking.client.get_model_version_download_uri(record.name, str(record.version))
    if is_local_uri(where):  # type: ignore[no-untyped-call]  # mlflow 3.17.2 does not type it
        folder = Path(local_file_uri_to_path(where))  # type: ignore[no-untyped-call]  # likewise
        if folder.is_dir() and not os.access(folder, os.W_OK):
            return folder.absolute()  # MLflow would write registered_model_meta beside the files
        return Path(mlflow.artifacts.download_artifacts(uri))
    if not re.fullmatch(r"[0-9a-f]{64}", digest):
        raise IntegrityError(
            f"version {record.version} of {record.name}: its tag model.digest {digest[:80]!r} is "
            "no SHA-256; `pitchpipe import` a file, or `pitchpipe run`"
        )
    kept = KEPT / digest
    if kept.is_dir() and files_digest(kept) != digest:
        shutil.rmtree(kept)
    if not kept.is_dir():
        _download(uri, kept)
    os.utime(kept)  # the time of its last use
    return kept.absolute()  # it may be read from another working directory


def _download(uri: str, kept: Path) -> None:
    with scratch_folder(".fetching-", within=KEPT) as scratch:
        files = scratch / "files"
        files.mkdir()
        mlflow.artifacts.download_artifacts(uri, dst_path=str(files))
        # Another process may have made the same copy first.
        with contextlib.suppress(OSError):
            files.rename(kept)
