"""`trial:` of the params: network, optimiser, seed, ...; any field can be an axis."""

import math
from typing import Literal, Self

from pydantic import Field, model_validator

from models.augmentations import AugmentationConfig, NoAugmentation
from models.augmentations.mixing import MixingConfig, NoMixing
from models.config.schedules import ConstantSchedule, ScheduleConfig
from models.config.start import StartConfig
from models.networks import CnnConfig, NetworkConfig
from models.optimizers import AdamConfig, OptimizerConfig
from models.record import Record


class EarlyStoppingConfig(Record):
    """When a trial is stopped for lack of progress."""

    patience: int | None = Field(None, ge=1)
    """Epochs without a better objective after which a trial ends; null: never."""
    min_delta: float = Field(0.0, ge=0)
    """Smallest change that counts as better, in the objective's unit."""


class LearningRateScaling(Record):
    """Learning rate for another minibatch than the one that it was chosen for."""

    rule: Literal["none", "linear", "square_root"] = "none"
    """linear: optimizer.learning_rate is multiplied by minibatch_size / base (Goyal et al., 2017),
    with a schedule.warmup of some epochs where that is much; square_root: by its root."""
    base: int = Field(32, ge=1, le=65536)
    """Images of the minibatch at which optimizer.learning_rate is meant as it stands."""

    def factor(self, minibatch_size: int) -> float:
        """Factor on the learning rate."""
        ratio = minibatch_size / self.base
        return {"none": 1.0, "linear": ratio, "square_root": math.sqrt(ratio)}[self.rule]


Objective = Literal["accuracy", "f1_macro", "cross_entropy"]


class TrialConfig(Record):
    """Everything that determines a trial, except data, code and epoch budget."""

    network: NetworkConfig = CnnConfig()
    """Architecture."""
    start: StartConfig | None = None
    """Weights that training begins with; null: new ones, drawn by the seed."""
    optimizer: OptimizerConfig = AdamConfig()
    """Optimiser of the weights."""
    schedule: ScheduleConfig = ConstantSchedule()
    """Schedule of the learning rate."""
    learning_rate_scaling: LearningRateScaling = LearningRateScaling()
    """How the learning rate follows minibatch_size; by itself it does not."""
    augmentation: AugmentationConfig = NoAugmentation()
    """Random changes of training images, drawn by (seed, epoch, step)."""
    mixing: MixingConfig = NoMixing()
    """Mixing of training images with one another."""
    class_weights: Literal["none", "balanced"] = "none"
    """balanced: in the training loss, every class counts the same, however few its images."""
    sampling: Literal["uniform", "balanced"] = "uniform"
    """uniform: every training image once an epoch. balanced: as many images an epoch as there are,
    the same number of each class; those of large classes take turns over the epochs, those of small
    ones come several times."""
    focal_gamma: float = Field(0.0, ge=0, le=10)
    """Focal loss (Lin et al., 2017): each image's loss is multiplied by (1 - p)^gamma, p the
    probability of its class, so that images that are right already count less. 0: cross-entropy."""
    early_stopping: EarlyStoppingConfig = EarlyStoppingConfig()
    """When to stop before the budget."""
    objective: Objective = "accuracy"
    """Validation score by which the best epoch and trial are selected, then cross-entropy."""
    minibatch_size: int = Field(32, ge=1, le=65536)
    """Images of an optimiser step; gd takes all images instead."""
    label_smoothing: float = Field(0.0, ge=0, lt=1)
    """Probability mass spread over all classes in the training loss."""
    gradient_clip: float | None = Field(None, gt=0)
    """Largest norm of a step's whole gradient; null: no limit."""
    ema_decay: float = Field(0.0, ge=0, lt=1)
    """Decay of the running mean of weights that is validated and kept; 0: no mean."""
    seed: int = Field(0, ge=0, lt=2**31)
    """Seed of weights, order, dropout and augmentation."""
    threads: int = Field(1, ge=1, le=256)
    """CPU threads of a trial; part of its key, because rounding of sums depends on it."""
    devices: int = Field(1, ge=1, le=64)
    """Processes, each with a device, that train the trial together."""
    strategy: Literal["auto", "ddp", "async"] = "auto"
    """How devices share the work. ddp: each has the network and a share of every minibatch; auto:
    ddp where there are several. async: each takes minibatches of its own and steps at once on
    weights that all share, on CPUs (Recht et al., 2011); no two trainings then have the same bits.
    """
    precision: Literal["float32", "bf16", "auto"] = "float32"
    """bf16: forward and backward in bfloat16 where that is safe; weights and scores in float32.
    auto: bf16 where the CPU multiplies it itself (AVX-512 BF16), else float32; a trial's key says
    which."""

    def in_precision(self, *, bf16: bool) -> Self:
        """Return the config with precision auto resolved; bf16: whether the processor has it."""
        if self.precision != "auto":
            return self
        return self.model_copy(update={"precision": "bf16" if bf16 else "float32"})

    @property
    def is_asynchronous(self) -> bool:
        """Whether processes step without waiting: no two trainings have the same bits."""
        return self.strategy == "async"

    @property
    def rate(self) -> float:
        """Learning rate for this minibatch, before any schedule."""
        factor = self.learning_rate_scaling.factor(self.minibatch_size)
        return self.optimizer.learning_rate * factor

    @property
    def asks_for_weights(self) -> bool:
        """Whether weights must be looked up before it can be trained."""
        return self.start is not None or self.network.is_pretrained

    @property
    def begins_with(self) -> StartConfig | None:
        """`start`, where any layer begins with its weights."""
        return self.start if self.start is not None and self.start.layers != "none" else None

    def for_epochs(self, epochs: int) -> Self:
        """Return the config of a trial in a search of so many epochs a trial.

        A schedule that says no horizon ends with them. Raises ValueError where one ends before.
        """
        return self.model_copy(update={"schedule": self.schedule.for_epochs(epochs)})

    @model_validator(mode="after")
    def _balance_is_made_once(self) -> Self:
        if self.sampling == "balanced" and self.class_weights == "balanced":
            raise ValueError(
                "sampling: balanced and class_weights: balanced would each make up for rare "
                "classes, together twice: choose one"
            )
        if self.sampling == "balanced" and self.optimizer.name == "gd":
            raise ValueError(
                "sampling: balanced draws minibatches, and gd takes every image once a step: "
                "choose class_weights: balanced, or another optimizer.name"
            )
        return self

    @model_validator(mode="after")
    def _what_scales_the_rate_is_used(self) -> Self:
        if self.learning_rate_scaling.rule != "none" and self.optimizer.name == "gd":
            raise ValueError(
                f"learning_rate_scaling.rule: {self.learning_rate_scaling.rule} goes by "
                "minibatch_size, which gd has no use for: choose rule: none, or another "
                "optimizer.name"
            )
        return self

    @model_validator(mode="after")
    def _focal_loss_has_one_class_an_image(self) -> Self:
        if self.focal_gamma and self.label_smoothing:
            raise ValueError(
                f"focal_gamma {self.focal_gamma:g} and label_smoothing {self.label_smoothing:g}: "
                "the focal loss weighs by the probability of one class, and smoothing spreads the "
                "label over all; set one of them to 0"
            )
        return self

    @model_validator(mode="after")
    def _each_device_has_an_image(self) -> Self:
        shared = self.optimizer.name != "gd" and not self.is_asynchronous
        if shared and self.devices > self.minibatch_size:
            raise ValueError(
                f"devices {self.devices} must not be above minibatch_size {self.minibatch_size}: "
                "each device takes a share of every minibatch"
            )
        return self

    @model_validator(mode="after")
    def _devices_agree_on_statistics(self) -> Self:
        shared = self.devices > 1 and not self.is_asynchronous
        if shared and self.network.shares_statistics:
            raise ValueError(
                f"devices {self.devices}: each would normalise by the images of its own share; "
                "choose network.norm: group (of cnn: normalisation: group), or devices: 1"
            )
        return self

    @model_validator(mode="after")
    def _asynchronous_steps_are_possible(self) -> Self:
        if not self.is_asynchronous:
            return self
        if self.devices == 1:
            raise ValueError(
                "strategy: async and devices 1: one process waits for none; set devices: 2 or "
                "more, or strategy: auto"
            )
        if self.optimizer.name in ("gd", "muon"):
            why = {
                "gd": "gd takes one step an epoch, of all images",
                "muon": "muon makes the whole momentum of a matrix orthogonal, which another "
                "process would change meanwhile",
            }[self.optimizer.name]
            raise ValueError(
                f"strategy: async and optimizer.name: {self.optimizer.name}: {why}; choose sgd, "
                "adam, adamw, rmsprop or adagrad, or strategy: ddp"
            )
        return self
