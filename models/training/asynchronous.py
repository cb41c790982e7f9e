"""Asynchronous training: processes of one trial step on weights that they share, none waiting.

Hogwild (Recht et al., 2011): each process takes the next minibatch, computes its gradient by the
weights as it finds them, and steps at once, without a lock. For networks, whose gradients are dense
and whose loss is not convex, it converges as minibatches do, one after the other, while gradients
are late by a bounded number of steps (Lian et al., 2015). The optimiser's state is shared as well,
as Mnih et al. (2016) found best. Why so: docs/adr/0013-asynchronous-by-shared-weights.md.
"""

import math
import mmap
import multiprocessing
from collections.abc import Iterable

import torch
from pytorch_lightning.strategies import DDPStrategy
from torch import Tensor, nn

from models.config import TrialConfig
from models.training.checkpoint import TrainingState
from models.training.classifier import Classifier, TrialData
from models.training.optimizer_step import Stepper
from models.training.trial_faults import network_faults, peers_may_be_lost

_NEVER = 2**62


class Turns:
    """Numbers in order, each given to one process; to be made before these are forked."""

    def __init__(self, first: int) -> None:
        self._next = multiprocessing.get_context("fork").Value("q", first)

    def take(self, *, below: int) -> int | None:
        """Take the next number; None where it is not below the one given."""
        with self._next.get_lock():
            number = int(self._next.value)
            if number >= below:
                return None
            self._next.value = number + 1
        return number

    def close(self) -> None:
        """Give out no more."""
        with self._next.get_lock():
            self._next.value = _NEVER


class SharedWeights(DDPStrategy):
    """Processes whose weights are the same memory, so that no gradient travels."""

    def configure_ddp(self) -> None:
        """Leave the network unwrapped: DDP would exchange gradients at each step."""


class AsynchronousClassifier(Classifier):
    """Classifier of one of several processes that share its weights and its optimiser's state.

    An epoch has the same minibatches, changed by the same draws, at the same learning rates as one
    process's; which process takes which, and how many steps late a gradient comes, is left to the
    machine. Processes wait for one another twice an epoch: before validation, for weights that
    stand still, and after the checkpoint is written.
    """

    def __init__(
        self, config: TrialConfig, network: nn.Module, data: TrialData, state: TrainingState | None
    ) -> None:
        super().__init__(config, network, data, state)
        self.stepper = Stepper(config, network, state)
        if state is None:
            self.stepper.make_state()
        share_memory([*network.parameters(), *network.buffers(), *self.stepper.tensors])
        done = state.epoch if state is not None else 0
        self._turns = Turns(done * self.minibatches.steps_per_epoch)

    @property
    def place(self) -> tuple[int, int]:
        """The only process: a minibatch is one process's."""
        return 0, 1

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return self.stepper.optimizer

    def train_dataloader(self) -> range:
        return range(1)  # Lightning's loop would give each process as many steps

    def on_train_epoch_start(self) -> None:
        super().on_train_epoch_start()
        with peers_may_be_lost():  # the first may be writing the checkpoint still
            self.trainer.strategy.barrier()

    def training_step(self, number: int) -> None:
        """Take minibatches until the epoch has no more, then wait for the others' last steps."""
        del number
        steps = self.minibatches.steps_per_epoch
        with network_faults():
            while (turn := self._turns.take(below=self.epoch * steps)) is not None:
                chunk = self.minibatches.minibatch(self.epoch, turn - (self.epoch - 1) * steps)
                for part in chunk.slices:
                    self.learn(chunk, part)
                if not math.isfinite(self.train_tally.loss_sum):
                    self._turns.close()
        self.check_divergence()


def share_memory(tensors: Iterable[Tensor]) -> None:
    """Move dense CPU tensors, with their layout, to memory that processes forked later share.

    Memory without a file: folders for such files have 64 MB in containers, and kills leave them.
    """
    for tensor in tensors:
        memory = mmap.mmap(-1, max(1, tensor.numel()) * tensor.element_size())
        flat = torch.frombuffer(memory, dtype=tensor.dtype)
        tensor.data = flat.as_strided(tensor.shape, tensor.stride()).copy_(tensor.data)
