"""The classifier: one network with its loss and optimiser, as Lightning trains it."""

import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytorch_lightning as pl
import torch
from torch import Tensor, nn

from models.config import TrialConfig
from models.datasets.prepared import Manifest, Split
from models.networks.serving import channel_constants, normalise
from models.training.checkpoint import TrainingState, normalisation_of
from models.training.epoch_scores import EpochScores, EpochSums, cross_entropy_sum
from models.training.joined import JoinedSplits
from models.training.losses import TrainingLoss
from models.training.minibatches import Chunk, Minibatches, Slice
from models.training.optimizer_step import Stepper
from models.training.seeding import derived_seed, seed_global
from models.training.subset import ChosenSplit
from models.training.trial_faults import TrialFault, network_faults, peers_may_be_lost
from models.trials import EpochRecord

VALIDATION_SLICE = 500
"""Images validated at once; fixed, because sums depend on it in their last bits."""


@dataclass(frozen=True, slots=True)
class TrialData:
    """What one trial sees of the prepared data; the test split is no part of it."""

    manifest: Manifest
    train: Split | JoinedSplits | ChosenSplit
    validation: Split
    start: Path
    """File of the weights that training begins with; it is there where the config names any."""
    validated: tuple[EpochRecord, ...] = ()
    """Of a refit: the epochs of the trial that it refits, whose validation scores stand for its
    own; otherwise none."""
    epoch_images: int | None = None
    """Train images of an epoch; None: as many as there are."""


class Classifier(pl.LightningModule):
    """Trains a network on chunks of minibatches; a training_step takes a whole chunk.

    What Lightning passes as a batch is the number of a chunk, or of a slice of validation.
    """

    mean: Tensor
    std: Tensor
    stepper: Stepper

    def __init__(
        self, config: TrialConfig, network: nn.Module, data: TrialData, state: TrainingState | None
    ) -> None:
        super().__init__()
        # Lightning's own loop would call us, its hooks and its precision plugin for every step.
        self.automatic_optimization = False
        self.network = network
        self.minibatches = Minibatches(data.train, config, images=data.epoch_images)
        self.train_tally = EpochSums()
        self.validation_tally = EpochScores(len(data.manifest.classes))
        self.loss = TrainingLoss(config, data.manifest)
        self._config = config
        self._data = data
        self._state = state
        mean, std = normalisation_of(config, data.manifest)
        self.register_buffer("mean", channel_constants(mean))
        self.register_buffer("std", channel_constants(std))

    @property
    def epoch(self) -> int:
        """Epoch being trained, from 1, counted over all resumptions."""
        return self.current_epoch + 1 + (self._state.epoch if self._state else 0)

    def configure_optimizers(self) -> torch.optim.Optimizer:
        self.stepper = Stepper(self._config, self.network, self._state)
        return self.stepper.optimizer

    def train_dataloader(self) -> range:
        return range(len(self.minibatches))

    def val_dataloader(self) -> range:
        return range(0, len(self._data.validation.labels), VALIDATION_SLICE)

    def on_train_epoch_start(self) -> None:
        self.train_tally = EpochSums()

    def reduce_train_tally(self) -> None:
        """Take in what other processes of the trial saw in this epoch; once an epoch."""
        self.train_tally.reduce(self._summed)

    def on_validation_epoch_start(self) -> None:
        self.stepper.swap()
        self.validation_tally = EpochScores(len(self._data.manifest.classes))

    def on_validation_epoch_end(self) -> None:
        self.stepper.swap()

    def training_step(self, number: int) -> None:
        chunk = self.minibatches.chunk(self.epoch, number)
        with network_faults():
            for part in chunk.slices:
                self.learn(chunk, part)
        # Summed, so that all processes of a trial see it diverge, and at once.
        self.check_divergence()

    def check_divergence(self) -> None:
        """Raise TrialFault in all processes where the epoch's loss is not finite in any of them."""
        loss = float(self._summed(torch.tensor(self.train_tally.loss_sum)))
        if not math.isfinite(loss):
            raise TrialFault("diverged", f"the loss is {loss} in epoch {self.epoch}")

    def validation_step(self, start: int) -> None:
        rows = slice(start, start + VALIDATION_SLICE)
        images = torch.from_numpy(np.array(self._data.validation.images[rows]))
        labels = torch.from_numpy(np.array(self._data.validation.labels[rows])).to(self.device)
        # Scores are of the network as it is served: in float32, whatever it was trained in.
        with network_faults(), torch.autocast(self.device.type, enabled=False):
            logits = self._logits(images)
        self.validation_tally.add(logits, labels, cross_entropy_sum(logits, labels))

    def learn(self, chunk: Chunk, part: Slice) -> None:
        """Add a slice's gradient; step when its minibatch is complete."""
        seed, epoch, rows = self._config.seed, self.epoch, slice(part.start, part.stop)
        change = derived_seed(seed, "augmentation", epoch=epoch, step=part.number)
        changed = self._config.augmentation.augment(chunk.images[rows], change)
        mixed = self._config.mixing.mix(changed, chunk.labels[rows], change)
        labels, others = (of[self._share].to(self.device) for of in (mixed.labels, mixed.others))
        process, processes = self.place
        seed_global(seed, "dropout", epoch=epoch, step=part.number, process=process)
        logits = self._logits(mixed.images[self._share])
        loss = self.loss(logits, labels, others, mixed.share)
        # ddp averages gradients over its processes; what is wanted is their sum.
        self.manual_backward(loss * (processes / part.minibatch))
        self.train_tally.add(logits.detach(), labels, loss.detach())
        if part.last:
            steps = self.minibatches.steps_per_epoch
            self.stepper.step((epoch - 1) * steps + part.step, steps_per_epoch=steps)

    @property
    def place(self) -> tuple[int, int]:
        """Which process this is, from 0, of how many that share each minibatch."""
        return self.global_rank, self.trainer.world_size

    @property
    def _share(self) -> slice:
        """Images of a slice that are this process's."""
        process, processes = self.place
        return slice(process, None, processes)

    def _summed(self, values: Tensor) -> Tensor:
        with peers_may_be_lost():
            total: Tensor = self.trainer.strategy.reduce(values.to(self.device), reduce_op="sum")
        return total

    def _logits(self, images: Tensor) -> Tensor:
        logits: Tensor = self.network(normalise(images.to(self.device), self.mean, self.std))
        return logits
