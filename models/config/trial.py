"""`trial:` in params.yaml: network, optimiser, seed, ...; any field can be an axis."""

from typing import Annotated, Literal, Self

from pydantic import Field, computed_field, model_validator

from models.augmentations import AugmentationConfig, NoAugmentation
from models.networks import CnnConfig, NetworkConfig
from models.optimizers import AdamConfig, OptimizerConfig
from models.record import Record


class _Schedule(Record):
    """Learning rate as a function of the step; warms up linearly first, by choice."""

    warmup: int = Field(0, ge=0)
    """Epochs in which the factor rises linearly to what the schedule says; 0: none."""

    @model_validator(mode="before")
    @classmethod
    def _null_horizon_is_none_given(cls, tree: object) -> object:
        """Let another schedule take its own horizon where this one's dump says null."""
        if isinstance(tree, dict) and tree.get("horizon", 0) is None:
            return {key: value for key, value in tree.items() if key != "horizon"}
        return tree


class _EndlessSchedule(_Schedule):
    @computed_field  # type: ignore[prop-decorator] # mypy knows no decorated property
    @property
    def horizon(self) -> None:
        """Null: needs none."""
        return


class ConstantSchedule(_EndlessSchedule):
    """One learning rate throughout."""

    name: Literal["constant"] = "constant"


class CosineSchedule(_Schedule):
    """Half a cosine from the learning rate to 0 (Loshchilov & Hutter, 2017), without restart."""

    name: Literal["cosine"] = "cosine"
    horizon: int = Field(10, ge=1)
    """Epochs from the learning rate to 0; it stays 0 after."""


class StepSchedule(_EndlessSchedule):
    """A factor on the learning rate every so many epochs."""

    name: Literal["step"] = "step"
    every: int = Field(5, ge=1)
    """Epochs between two falls."""
    decay: float = Field(0.1, gt=0, le=1)
    """Factor of each fall."""


class ExponentialSchedule(_EndlessSchedule):
    """A factor on the learning rate each epoch, spread evenly over its steps."""

    name: Literal["exponential"] = "exponential"
    decay: float = Field(0.9, gt=0, le=1)
    """Factor of each epoch."""


class EarlyStoppingConfig(Record):
    """When a trial has stopped getting better."""

    patience: int | None = Field(None, ge=1)
    """Epochs without a better objective before the trial ends; null: never."""
    min_delta: float = Field(0.0, ge=0)
    """Smallest change that counts as better, in the objective's unit."""


ScheduleConfig = Annotated[
    ConstantSchedule | CosineSchedule | StepSchedule | ExponentialSchedule,
    Field(discriminator="name"),
]
Objective = Literal["accuracy", "f1_macro", "cross_entropy"]


class TrialConfig(Record):
    """All that decides what one trial trains, but for the data, the code and the epoch budget."""

    network: NetworkConfig = CnnConfig()
    """Architecture."""
    optimizer: OptimizerConfig = AdamConfig()
    """How weights are moved."""
    schedule: ScheduleConfig = ConstantSchedule()
    """How the learning rate changes."""
    augmentation: AugmentationConfig = NoAugmentation()
    """How training images are changed: at random, by (seed, epoch, step)."""
    early_stopping: EarlyStoppingConfig = EarlyStoppingConfig()
    """When to stop before the budget."""
    objective: Objective = "accuracy"
    """Validation score that picks the best epoch and the best trial; ties go to cross-entropy."""
    minibatch_size: int = Field(32, ge=1, le=65536)
    """Images an optimiser step sees; gd takes all of them whatever this says."""
    label_smoothing: float = Field(0.0, ge=0, lt=1)
    """Probability mass spread over all classes in the training loss."""
    gradient_clip: float | None = Field(None, gt=0)
    """Largest norm of a step's whole gradient; null: as it comes."""
    ema_decay: float = Field(0.0, ge=0, lt=1)
    """Of the running mean of weights that is validated and kept; 0: the weights themselves."""
    seed: int = Field(0, ge=0, lt=2**31)
    """Origin of weights, order, dropout and augmentation."""
    threads: int = Field(1, ge=1, le=256)
    """CPU threads of one trial; part of its key, because sums change with it."""
    devices: int = Field(1, ge=1, le=64)
    """Processes that share each minibatch, a device each."""
    strategy: Literal["auto", "ddp"] = "auto"
    """How devices work together. ddp: each has the network and a share of every minibatch; auto:
    ddp where there are several."""
    precision: Literal["float32", "bf16"] = "float32"
    """bf16: forward and backward in bfloat16 where that is safe; weights and scores in float32."""

    @model_validator(mode="after")
    def _each_device_has_an_image(self) -> Self:
        if self.optimizer.name != "gd" and self.devices > self.minibatch_size:
            raise ValueError(
                f"devices {self.devices} must not be above minibatch_size {self.minibatch_size}: "
                "each device takes a share of every minibatch"
            )
        return self
