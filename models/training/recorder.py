"""Keeps each epoch as it ends, and stops training that gets no better."""

import math
import time
from collections.abc import Callable, Sequence

import pytorch_lightning as pl
import torch

from models.lifetime import end_with_parent
from models.training.checkpoint import TrainingState, Weights, copied
from models.training.classifier import Classifier
from models.training.early_stopping import best_record, should_stop_early
from models.training.nodes import check_nodes_agree
from models.training.trial_directory import TrialDirectory
from models.training.trial_faults import TrialFault
from models.trials import EpochRecord, Scores


class Recorder(pl.Callback):
    """Writes history and checkpoints after each epoch's validation, then calls on_epoch.

    Where several processes train, each decides alike when to stop, and the first of each machine
    writes.
    """

    def __init__(
        self,
        directory: TrialDirectory,
        *,
        state: TrainingState | None,
        validated: Sequence[EpochRecord],
        on_epoch: Callable[[EpochRecord], None],
    ) -> None:
        """validated: epochs whose validation scores are recorded; none: those found now."""
        self._directory = directory
        self._config = directory.spec.config
        self._history = directory.history()
        self._state = state
        self._validated = validated
        self._on_epoch = on_epoch
        self._began = 0.0

    def setup(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        del pl_module, stage
        if trainer.world_size > 1:
            end_with_parent()
            # Where OMP_NUM_THREADS is not set Lightning gives each its share of the cores.
            torch.set_num_threads(self._config.threads)
            check_nodes_agree(trainer, self._state.epoch if self._state else 0)

    def on_train_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        del trainer
        assert isinstance(pl_module, Classifier)
        # From the history, as early stopping: a trial that was killed needs no state of its own.
        pl_module.stepper.reduce_rate([record.validation_loss for record in self._history])
        self._began = time.perf_counter()

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        assert isinstance(pl_module, Classifier)
        pl_module.reduce_train_tally()
        stepper = pl_module.stepper
        weights = copied(pl_module.network.state_dict())
        average = copied(stepper.average) if stepper.average is not None else None
        _check_finite(weights, pl_module.epoch)
        epoch, seconds = pl_module.epoch, time.perf_counter() - self._began
        known = self._validated[epoch - 1].scores if self._validated else None
        record = _epoch_record(pl_module, known or _validation_scores(pl_module), seconds=seconds)
        self._history.append(record)
        improved = best_record(self._history, self._config.objective) is record
        validated = weights | (average or {})
        best = validated if improved or self._state is None else self._state.best
        self._state = TrainingState(
            record.epoch, weights, best, stepper.optimizer.state_dict(), average
        )
        if trainer.local_rank == 0:
            self._directory.save_epoch(record, self._state, improved=improved)
            self._on_epoch(record)
        trainer.should_stop = should_stop_early(
            self._history, self._config.early_stopping, self._config.objective
        )


def _validation_scores(classifier: Classifier) -> Scores:
    _check_loss(classifier.validation_tally.loss, classifier.epoch)
    return classifier.validation_tally.scores()


def _check_loss(loss: float, epoch: int) -> None:
    if not math.isfinite(loss):  # finite weights may still overflow in the network
        raise TrialFault("diverged", f"the loss is {loss} after epoch {epoch}")


def _epoch_record(classifier: Classifier, validation: Scores, *, seconds: float) -> EpochRecord:
    train = classifier.train_tally
    _check_loss(train.loss, classifier.epoch)
    return EpochRecord(
        epoch=classifier.epoch,
        train_loss=train.loss,
        train_accuracy=train.accuracy,
        validation_loss=validation.cross_entropy,
        validation_accuracy=validation.accuracy,
        validation_f1_macro=validation.f1_macro,
        learning_rate=classifier.stepper.learning_rate,
        seconds=seconds,
    )


def _check_finite(weights: Weights, epoch: int) -> None:
    for name, tensor in weights.items():
        if not torch.isfinite(tensor).all():
            raise TrialFault("diverged", f"{name} is not finite after epoch {epoch}")
