"""Versions loaded: their files checked before anything in them is executed."""

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import mlflow
import numpy as np
from numpy.typing import NDArray

from flows.lineage import Lineage
from flows.registry.listing import find_version
from flows.registry.packing import (
    EVALUATION,
    EXTRAS,
    LINEAGE,
    TRAINED_IDS,
    check_safe,
    files_digest,
    load_network,
)
from flows.registry.records import VersionRecord
from flows.tracking.store import Tracking, asking
from models.errors import IntegrityError
from models.evaluation.records import Evaluation

if TYPE_CHECKING:
    from torch import nn


@dataclass(frozen=True)
class VersionFiles:
    """A version's files, which have the digest that was recorded when it was registered."""

    record: VersionRecord
    directory: Path

    @cached_property
    def lineage(self) -> Lineage:
        """What the version was made from."""
        return Lineage.model_validate_json((self.directory / EXTRAS / LINEAGE).read_bytes())

    @cached_property
    def evaluation(self) -> Evaluation:
        """Scores on the test split when it was registered."""
        return Evaluation.model_validate_json((self.directory / EXTRAS / EVALUATION).read_bytes())

    @cached_property
    def trained_ids(self) -> NDArray[np.uint8]:
        """Ids of the images it was trained on, (n, 32)."""
        ids: NDArray[np.uint8] = np.load(
            self.directory / EXTRAS / TRAINED_IDS, mmap_mode="r", allow_pickle=False
        )
        return ids

    @property
    def weights_bytes(self) -> int:
        """Size of the exported network."""
        return sum(path.stat().st_size for path in (self.directory / "data").rglob("*"))


@dataclass(frozen=True)
class LoadedVersion:
    """A version ready to predict."""

    files: VersionFiles
    network: "nn.Module"

    def predict(
        self, images: NDArray[np.uint8], *, threads: int | None = None
    ) -> NDArray[np.float32]:
        """Probabilities (n, classes) of images (n, channels, height, width), n >= 1.

        threads: CPU threads; by default those it was trained with, which give the bits that its
        evaluation had.
        """
        from models.evaluation.inference import predict_probabilities  # noqa: PLC0415 - torch

        threads = threads or self.files.lineage.spec.config.threads
        return predict_probabilities(self.network, images, threads=threads)


def open_version(tracking: Tracking, wanted: str | int) -> VersionFiles:
    """Find a version by number or alias and check its files.

    Raises ConfigError where there is none, IntegrityError where the files are not those registered.
    """
    record = find_version(tracking, wanted)
    with asking():
        uri = f"models:/{record.name}/{record.version}"
        directory = Path(mlflow.artifacts.download_artifacts(uri))
    promised = record.tags.get("model.digest")
    if promised is None:
        raise IntegrityError(
            f"version {record.version} of {record.name} has no tag model.digest: pitchpipe did not "
            "register it and does not load it. Use `pitchpipe run`, or `pitchpipe import` a file"
        )
    found = files_digest(directory)
    if found != promised:
        raise IntegrityError(
            f"{directory}: the files of version {record.version} have digest {found}, not "
            f"{promised} as registered; `pitchpipe rollback`, or import the version again"
        )
    check_safe(directory)
    return VersionFiles(record=record, directory=directory)


def load_version(tracking: Tracking, wanted: str | int) -> LoadedVersion:
    """Load a version by number or alias; raises as `open_version` does."""
    files = open_version(tracking, wanted)
    return LoadedVersion(files=files, network=load_network(files.directory))
