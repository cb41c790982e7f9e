"""Load versions, whose files are checked before anything in them is executed."""

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from flows.records.lineage import Lineage
from flows.registry.fetching import fetch_files
from flows.registry.listing import find_version
from flows.registry.networks import load_network
from flows.registry.packing import files_digest
from flows.registry.records import (
    EVALUATION,
    LINEAGE,
    VersionRecord,
    read_extra,
    read_slices,
    read_trained_ids,
    read_trained_prints,
)
from flows.registry.safety.files import check_safe
from flows.tracking.store import Tracking, mlflow_errors
from models.errors import IntegrityError
from models.evaluation.records import Evaluation
from models.evaluation.slices.records import SliceReport

if TYPE_CHECKING:
    from torch import nn


@dataclass(frozen=True)
class VersionFiles:
    """A version's files, which have the digest that was recorded when it was registered."""

    record: VersionRecord
    directory: Path

    @property
    def called(self) -> str:
        """Its name in messages."""
        return f"version {self.record.version} of {self.record.name}"

    @cached_property
    def lineage(self) -> Lineage:
        """What the version was made from. Raises IntegrityError if another release wrote it."""
        return read_extra(Lineage, self.directory, LINEAGE, whose=self.called)

    @cached_property
    def evaluation(self) -> Evaluation:
        """Scores on the test split when it was registered; raises as `lineage` does."""
        return read_extra(Evaluation, self.directory, EVALUATION, whose=self.called)

    @cached_property
    def slices(self) -> SliceReport | None:
        """Scores by slice of the test split when it was registered; None: an earlier release's."""
        return read_slices(self.directory, whose=self.called)

    @cached_property
    def trained_ids(self) -> NDArray[np.uint8]:
        """Ids of the images it was trained or selected on, (n, 32)."""
        return read_trained_ids(self.directory, whose=self.called)

    @cached_property
    def trained_prints(self) -> NDArray[np.uint8] | None:
        """Prints of these images as it took them, (n, 32); None: an earlier release made it."""
        return read_trained_prints(self.directory, whose=self.called)

    @cached_property
    def validation_ids(self) -> NDArray[np.uint8] | None:
        """Those of them that it was selected on, (m, 32); None: an earlier release made it.

        Raises IntegrityError where there are more of these than of all.
        """
        count, ids = self.lineage.validation_images, self.trained_ids
        if count is not None and count > len(ids):
            raise IntegrityError(
                f"{self.called}: was selected on {count} images of {len(ids)}; make a new version "
                "with `pitchpipe run`"
            )
        return None if count is None else ids[len(ids) - count :]

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
    promised = record.tags.get("model.digest")
    if promised is None:
        raise IntegrityError(
            f"version {record.version} of {record.name} has no tag model.digest: pitchpipe did not "
            "register it and does not load it. Use `pitchpipe run`, or `pitchpipe import` a file"
        )
    with mlflow_errors():
        directory = fetch_files(tracking, record, promised)
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
