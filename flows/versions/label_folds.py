"""Out-of-sample probabilities of train and validation: one config trained on each fold's rest."""

import shutil
import zipfile
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from flows.engines.devices import device_for
from flows.engines.local import LocalEngine, stop_on_signals, warm_up
from flows.registry.starting import find_weights, place_start
from models.config import TrialConfig
from models.config.start import PRETRAINED
from models.datasets.prepared import Manifest
from models.datasets.splits import Indices
from models.digests import digest_of
from models.errors import PitchpipeError
from models.evaluation.inference import predict_probabilities
from models.evaluation.outcomes import Floats
from models.files import replacing
from models.monitoring.labels.folds import Pool, write_fold
from models.processes import usable_cores
from models.training.checkpoint import load_serving
from models.training.processor import computes_bf16, instruction_set
from models.training.source import package_versions, training_source_digest
from models.training.worker import TrialJob
from models.trials import EpochRecord, TrialFailure, TrialFiles, TrialResult, TrialSpec

KEPT = "cross_validated.npz"
"""Ids (n, 32) and probabilities (n, classes) of train and validation."""
_PIECE = 10_000
"""Held-out images that are predicted at once."""
Tick = Callable[[], None]
"""Called after each epoch of any fold, from any thread."""


@dataclass(frozen=True, slots=True)
class FoldTraining:
    """What is trained on every fold."""

    config: TrialConfig
    dataset: str
    """Digest of the prepared arrays."""
    budget: int
    """Epochs."""
    folds: int
    stored: Path
    """Directory of the trial that had the config, where its first weights may be."""

    @classmethod
    def of(
        cls, config: TrialConfig, manifest: Manifest, *, budget: int, folds: int, stored: Path
    ) -> "FoldTraining":
        """Prepare a config for new networks.

        Weights of a parent may have seen what a fold holds out: those of nobody's own images, which
        came with the network, alone are kept.
        """
        start = config.start
        if start is not None and start.origin != PRETRAINED:
            config = config.model_copy(update={"start": None})
        config = config.in_precision(bf16=device_for("auto") == "cpu" and computes_bf16())
        return cls(config, manifest.digest, budget, folds, stored)

    @property
    def workers(self) -> int:
        """Folds trained at once."""
        cores = self.config.threads * self.config.devices
        return max(1, min(self.folds, usable_cores() // cores))

    @property
    def id(self) -> str:
        """Digest of all that decides the probabilities."""
        return digest_of(
            {
                "spec": self.spec(self.dataset).key,
                "budget": self.budget,
                "folds": self.folds,
            }
        )

    def spec(self, dataset: str) -> TrialSpec:
        """Specify the trial on arrays of this digest."""
        device = device_for("auto")
        return TrialSpec(
            config=self.config,
            dataset=dataset,
            source=training_source_digest(),
            versions=package_versions(),
            device=device,
            instructions=instruction_set() if device == "cpu" else None,
        )


def cross_validated(
    training: FoldTraining, pool: Pool, manifest: Manifest, *, folder: Path, tick: Tick
) -> Floats:
    """Return the probabilities (n, classes) of the pool's images by networks that saw none of them.

    Kept in `folder`; a fold that was killed goes on from its last epoch. Raises PitchpipeError
    where the config cannot be trained on a fold.
    """
    kept = read_probabilities(folder, pool, len(manifest.classes))
    if kept is not None:
        return kept
    probabilities = np.zeros((len(pool.labels), len(manifest.classes)), np.float32)
    run = _FoldRun(training, pool, manifest, LocalEngine(), folder, tick)
    warm_up()
    try:
        with stop_on_signals(run.engine), ThreadPoolExecutor(training.workers) as threads:
            try:
                for rows, predicted in threads.map(run.predict, range(training.folds)):
                    probabilities[rows] = predicted
            except BaseException:
                run.engine.stop()
                threads.shutdown(wait=False, cancel_futures=True)
                raise
    finally:
        run.engine.stop()
    _keep_probabilities(folder, pool, probabilities)
    for fold in folder.glob("fold-*"):
        shutil.rmtree(fold, ignore_errors=True)
    return probabilities.astype(np.float64)


@dataclass(frozen=True, slots=True)
class _FoldRun:
    """What the folds share."""

    training: FoldTraining
    pool: Pool
    manifest: Manifest
    engine: LocalEngine
    folder: Path
    tick: Tick

    def predict(self, fold: int) -> tuple[Indices, NDArray[np.float32]]:
        """Train without a fold; return its places in the pool and their probabilities."""
        place = self.folder / f"fold-{fold + 1}"
        manifest = write_fold(place / "prepared", self.pool, self.manifest, fold)
        result, directory = self._train(place, manifest, fold)
        network = load_serving(directory, result, manifest)
        found, start = list[Indices](), 0
        parts: list[NDArray[np.float32]] = []
        for name, rows in self.pool.held(fold).items():
            images = self.pool.splits[name].images
            found.append(rows + start)
            start += len(images)
            for first in range(0, len(rows), _PIECE):
                piece = np.asarray(images[rows[first : first + _PIECE]])
                threads = self.training.config.threads
                parts.append(predict_probabilities(network, piece, threads=threads))
        return np.concatenate(found), np.concatenate(parts)

    def _train(self, place: Path, manifest: Manifest, fold: int) -> tuple[TrialResult, Path]:
        spec = self.training.spec(manifest.digest)
        job = TrialJob(
            spec=spec,
            directory=place / spec.key,
            prepared=place / "prepared",
            budget=self.training.budget,
            label=f"fold {fold + 1}",
        )
        start = spec.config.begins_with
        if start is not None:
            stored = self.training.stored / TrialFiles.START
            place_start(find_weights(start.weights or "", stored), job.directory)
        outcome = self.engine.train(job, self._note)
        if isinstance(outcome, TrialFailure):
            raise PitchpipeError(
                f"fold {fold + 1} failed after {outcome.epochs} epochs ({outcome.reason}); name "
                "another config by --of, or run again where the reason may pass"
            )
        return outcome, job.directory

    def _note(self, record: EpochRecord) -> None:
        del record
        self.tick()


def read_probabilities(folder: Path, pool: Pool, classes: int) -> Floats | None:
    """Read what `cross_validated` kept; None where it is not there, damaged, or of other images."""
    try:
        with np.load(folder / KEPT, allow_pickle=False) as arrays:
            ids, found = arrays["ids"], arrays["probabilities"]
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile):
        return None
    if not np.array_equal(ids, pool.ids) or found.shape != (len(ids), classes):
        return None
    whole = np.isfinite(found).all() and np.allclose(found.sum(axis=1), 1, atol=1e-3)
    return found.astype(np.float64) if whole else None


def _keep_probabilities(folder: Path, pool: Pool, probabilities: NDArray[np.float32]) -> None:
    with replacing(folder / KEPT) as temporary, temporary.open("wb") as file:
        np.savez(file, ids=pool.ids, probabilities=probabilities)
