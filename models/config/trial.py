"""`trial:` in params.yaml: network, optimiser, seed, ...; any field can be an axis."""

from typing import Annotated, Literal, Self

from pydantic import Field, computed_field, model_validator

from models.config.base import Record


class CnnConfig(Record):
    """Convolutional network: the article's case by default (93,322 parameters on 28x28x1)."""

    name: Literal["cnn"] = "cnn"
    channels: tuple[Annotated[int, Field(ge=1, le=1024)], ...] = Field((32, 64, 64), min_length=1)
    """Channels of each 3x3 convolution; a 2x2 max-pool follows each but the last."""
    hidden_units: int = Field(64, ge=1, le=8192)
    """Width of the dense layer before the output."""
    dropout: float = Field(0.0, ge=0, lt=1)
    """Share of the dense layer's inputs dropped while training."""


class MlpConfig(Record):
    """Multilayer perceptron, the article's NN."""

    name: Literal["mlp"] = "mlp"
    hidden_units: int = Field(128, ge=1, le=8192)
    """Width of each hidden layer."""
    hidden_layers: int = Field(2, ge=1, le=16)
    """Number of hidden layers."""
    dropout: float = Field(0.0, ge=0, lt=1)
    """Share of each hidden layer dropped while training."""


class RnnConfig(Record):
    """Recurrent network that reads an image row by row, top to bottom."""

    name: Literal["rnn"] = "rnn"
    cell: Literal["gru", "lstm"] = "gru"
    """Kind of gated cell."""
    hidden_units: int = Field(128, ge=1, le=8192)
    """Width of the recurrent state."""
    hidden_layers: int = Field(1, ge=1, le=8)
    """Recurrent layers, stacked."""
    dropout: float = Field(0.0, ge=0, lt=1)
    """Share of the last state dropped before the output while training."""


class GdConfig(Record):
    """Gradient descent on the whole training split: one step an epoch."""

    name: Literal["gd"] = "gd"
    learning_rate: float = Field(0.1, gt=0, le=100)
    """Step size."""
    weight_decay: float = Field(0.0, ge=0, le=1)
    """L2 penalty."""


class SgdConfig(Record):
    """Stochastic gradient descent over minibatches, with momentum by choice."""

    name: Literal["sgd"] = "sgd"
    learning_rate: float = Field(0.05, gt=0, le=100)
    """Step size."""
    momentum: float = Field(0.0, ge=0, lt=1)
    """0 is plain SGD."""
    nesterov: bool = False
    """Nesterov's form of momentum."""
    weight_decay: float = Field(0.0, ge=0, le=1)
    """L2 penalty."""

    @model_validator(mode="after")
    def _nesterov_needs_momentum(self) -> Self:
        if self.nesterov and self.momentum == 0:
            raise ValueError("nesterov needs momentum > 0")
        return self


class AdamConfig(Record):
    """Adam (Kingma & Ba, 2015)."""

    name: Literal["adam"] = "adam"
    learning_rate: float = Field(0.001, gt=0, le=10)
    """Step size."""
    beta1: float = Field(0.9, ge=0, lt=1)
    """Decay of the gradient's running mean."""
    beta2: float = Field(0.999, ge=0, lt=1)
    """Decay of the squared gradient's running mean."""
    weight_decay: float = Field(0.0, ge=0, le=1)
    """L2 penalty."""


class AdamWConfig(Record):
    """Adam with decoupled weight decay (Loshchilov & Hutter, 2019)."""

    name: Literal["adamw"] = "adamw"
    learning_rate: float = Field(0.001, gt=0, le=10)
    """Step size."""
    beta1: float = Field(0.9, ge=0, lt=1)
    """Decay of the gradient's running mean."""
    beta2: float = Field(0.999, ge=0, lt=1)
    """Decay of the squared gradient's running mean."""
    weight_decay: float = Field(0.01, ge=0, le=1)
    """Share of the step size by which weights shrink a step."""


class RmspropConfig(Record):
    """RMSprop (Tieleman & Hinton, 2012)."""

    name: Literal["rmsprop"] = "rmsprop"
    learning_rate: float = Field(0.001, gt=0, le=10)
    """Step size."""
    decay: float = Field(0.9, ge=0, lt=1)
    """Decay of the squared gradient's running mean."""
    momentum: float = Field(0.0, ge=0, lt=1)
    """0 is none."""
    weight_decay: float = Field(0.0, ge=0, le=1)
    """L2 penalty."""


class AdagradConfig(Record):
    """Adagrad (Duchi, Hazan & Singer, 2011)."""

    name: Literal["adagrad"] = "adagrad"
    learning_rate: float = Field(0.01, gt=0, le=10)
    """Step size."""
    weight_decay: float = Field(0.0, ge=0, le=1)
    """L2 penalty."""


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


class NoAugmentation(Record):
    """Training images as they are."""

    name: Literal["none"] = "none"


class ShiftAugmentation(Record):
    """A random shift with zero padding, and a random mirroring by choice."""

    name: Literal["shift"] = "shift"
    pixels: int = Field(2, ge=0, le=64)
    """Largest shift a side, in pixels."""
    mirror: bool = False
    """Turn half of the images left to right."""


class EarlyStoppingConfig(Record):
    """When a trial has stopped getting better."""

    patience: int | None = Field(None, ge=1)
    """Epochs without a better objective before the trial ends; null: never."""
    min_delta: float = Field(0.0, ge=0)
    """Smallest change that counts as better, in the objective's unit."""


NetworkConfig = Annotated[CnnConfig | MlpConfig | RnnConfig, Field(discriminator="name")]
OptimizerConfig = Annotated[
    GdConfig | SgdConfig | AdamConfig | AdamWConfig | RmspropConfig | AdagradConfig,
    Field(discriminator="name"),
]
ScheduleConfig = Annotated[
    ConstantSchedule | CosineSchedule | StepSchedule | ExponentialSchedule,
    Field(discriminator="name"),
]
AugmentationConfig = Annotated[NoAugmentation | ShiftAugmentation, Field(discriminator="name")]
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
