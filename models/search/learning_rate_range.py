"""Learning rate range test: one short training whose rate rises, and what its losses suggest.

Smith (2017), "Cyclical learning rates for training neural networks", WACV. Lightning's lr_find sets
the rate between calls of training_step and needs automatic optimisation; our classifier takes many
steps in a call, each at the rate of its schedule. So the loop is our own, on the same minibatches.
"""

import math
from collections.abc import Iterator, Sequence

import numpy as np
import torch
from pydantic import Field
from scipy.ndimage import gaussian_filter1d
from torch import nn

from models.config import TrialConfig
from models.datasets.prepared import Manifest, Split
from models.evaluation.outcomes import Floats
from models.networks.serving import channel_constants, normalise
from models.record import Record
from models.training.checkpoint import build_network, normalisation_of
from models.training.losses import TrainingLoss
from models.training.minibatches import Chunk, Minibatches, Slice
from models.training.seeding import derived_seed, seed_global
from models.training.trial_faults import TrialFault, network_faults

STEPS = 100
SMOOTHING = 2.5
"""Deviation of the Gaussian that losses are smoothed with, in steps; unlike a running mean it does
not move the curve to higher rates."""
DIVERGED = 4.0
"""Ratio to the lowest mean loss of five steps at which a sweep ends."""
_WINDOW = 5


class RangeTest(Record):
    """A sweep of the learning rate, from the lowest."""

    rates: tuple[float, ...] = Field(min_length=1)
    """Of each step, in a geometric progression."""
    losses: tuple[float, ...]
    """Training loss of each step's minibatch before the step, nats."""
    smoothed: tuple[float, ...]
    """The same, smoothed."""
    steepest: float | None
    """Rate at which the smoothed loss falls fastest by the logarithm of the rate, before its
    minimum; null: it does not fall."""
    minimum: float
    """Rate at which the smoothed loss is lowest."""

    @property
    def suggested(self) -> float | None:
        """The steepest rate, and at most a tenth of the minimum's; None where no loss fell."""
        return None if self.steepest is None else min(self.steepest, self.minimum / 10)


def sweep_learning_rate(
    config: TrialConfig, manifest: Manifest, train: Split, *, low: float, high: float
) -> RangeTest:
    """Train the network of a config for STEPS steps while the rate rises from low to high.

    From the trial's own first weights, on its own minibatches with augmentation and dropout; an
    epoch of fewer steps is followed by the next. Ends before high where the loss diverges. In
    float32 on the CPU; schedule, running mean and learning rate of the config play no part. Sets
    torch's threads and global generators. The same config and images give the same bits.
    Raises TrialFault where the network cannot be trained.
    """
    torch.set_num_threads(config.threads)
    rates = np.geomspace(low, high, STEPS)
    losses: list[float] = []
    for loss in _losses(config, manifest, train, rates.tolist()):
        if not math.isfinite(loss):
            break
        losses.append(loss)
        if _has_diverged(losses):
            break
    if not losses:
        raise TrialFault("diverged", f"the loss is not finite at a learning rate of {low:g}")
    return read_losses(rates[: len(losses)], losses)


def read_losses(rates: Floats, losses: Sequence[float]) -> RangeTest:
    """Smooth the losses of a sweep and find its steepest descent and its minimum.

    rates: (n,), ascending;  losses: as many.
    """
    smoothed = gaussian_filter1d(np.asarray(losses, np.float64), SMOOTHING, mode="nearest")
    lowest = int(smoothed.argmin())
    slopes = np.gradient(smoothed, np.log(rates))[:lowest] if lowest else np.zeros(1)
    steepest = int(slopes.argmin())
    return RangeTest(
        rates=tuple(rates.tolist()),
        losses=tuple(losses),
        smoothed=tuple(smoothed.tolist()),
        steepest=float(rates[steepest]) if slopes[steepest] < 0 else None,
        minimum=float(rates[lowest]),
    )


def _losses(
    config: TrialConfig, manifest: Manifest, train: Split, rates: Sequence[float]
) -> Iterator[float]:
    """Yield the mean loss of each step's minibatch, then take the step."""
    seed_global(config.seed, "weights")
    with network_faults():
        network = build_network(config, manifest)
    sweep = _Sweep(config, manifest, network.train())
    step, summed = 0, 0.0
    for epoch, chunk, part in _slices(Minibatches(train, config)):
        summed += sweep.learn(epoch, chunk, part)
        if part.last:
            yield summed / part.minibatch
            sweep.step(rates[step])
            step, summed = step + 1, 0.0
            if step == len(rates):
                return


def _slices(minibatches: Minibatches) -> Iterator[tuple[int, Chunk, Slice]]:
    """Yield the slices of one epoch after another, without end."""
    epoch = 0
    while True:
        epoch += 1
        for number in range(len(minibatches)):
            chunk = minibatches.chunk(epoch, number)
            for part in chunk.slices:
                yield epoch, chunk, part


class _Sweep:
    """A network in training, at whatever rate each step is given."""

    def __init__(self, config: TrialConfig, manifest: Manifest, network: nn.Module) -> None:
        self._config, self._network = config, network
        self._loss = TrainingLoss(config, manifest)
        self._optimizer = config.optimizer.build(network.parameters())
        self._mean, self._std = map(channel_constants, normalisation_of(config, manifest))

    def learn(self, epoch: int, chunk: Chunk, part: Slice) -> float:
        """Add the gradient of a slice; return the sum of its losses, as the classifier has it."""
        seed, rows = self._config.seed, slice(part.start, part.stop)
        change = derived_seed(seed, "augmentation", epoch=epoch, step=part.number)
        changed = self._config.augmentation.augment(chunk.images[rows], change)
        mixed = self._config.mixing.mix(changed, chunk.labels[rows], change)
        seed_global(seed, "dropout", epoch=epoch, step=part.number)
        with network_faults():
            logits = self._network(normalise(mixed.images, self._mean, self._std))
            loss = self._loss(logits, mixed.labels, mixed.others, mixed.share)
            (loss / part.minibatch).backward()  # type: ignore[no-untyped-call] # torch leaves it so
        return float(loss.detach())

    def step(self, rate: float) -> None:
        """Take a step at a rate of the params, and clear the gradients."""
        factor = self._config.learning_rate_scaling.factor(self._config.minibatch_size)
        for group in self._optimizer.param_groups:
            group["lr"] = rate * factor
        if self._config.gradient_clip is not None:
            nn.utils.clip_grad_norm_(self._network.parameters(), self._config.gradient_clip)
        self._optimizer.step()
        self._optimizer.zero_grad(set_to_none=True)


def _has_diverged(losses: Sequence[float]) -> bool:
    if len(losses) < 2 * _WINDOW:
        return False
    means = np.convolve(losses, np.full(_WINDOW, 1 / _WINDOW), mode="valid")
    return bool(means[-1] > DIVERGED * means.min())
