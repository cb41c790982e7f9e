"""`trial:` in params.yaml: one network, how it is optimised, and the seed. Any field can be an axis."""

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

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


class ScheduleConfig(Record):
    """Learning rate as a function of the step."""

    name: Literal["constant", "cosine"] = "constant"
    """constant, or cosine from the learning rate to 0 over the horizon."""
    horizon: int | None = Field(None, ge=1)
    """Epochs the schedule spans; null where it needs none."""

    @model_validator(mode="after")
    def _horizon_where_needed(self) -> Self:
        if (self.horizon is None) != (self.name == "constant"):
            raise ValueError("cosine needs horizon (epochs); constant takes none")
        return self


class AugmentationConfig(Record):
    """Random change of training images, a function of (seed, epoch, step)."""

    name: Literal["none", "shift"] = "none"
    """none, or a random shift with zero padding."""
    pixels: int = Field(2, ge=1, le=64)
    """Largest shift a side, in pixels."""


class EarlyStoppingConfig(Record):
    """When a trial has stopped getting better."""

    patience: int | None = Field(None, ge=1)
    """Epochs without a better objective before the trial ends; null: never."""
    min_delta: float = Field(0.0, ge=0)
    """Smallest change that counts as better, in the objective's unit."""


NetworkConfig = Annotated[CnnConfig | MlpConfig | RnnConfig, Field(discriminator="name")]
OptimizerConfig = Annotated[GdConfig | SgdConfig | AdamConfig, Field(discriminator="name")]
Objective = Literal["accuracy", "f1_macro", "cross_entropy"]


class TrialConfig(Record):
    """All that decides what one trial trains, but for the data, the code and the epoch budget."""

    network: NetworkConfig = CnnConfig()
    """Architecture."""
    optimizer: OptimizerConfig = AdamConfig()
    """How weights are moved."""
    schedule: ScheduleConfig = ScheduleConfig()
    """How the learning rate changes."""
    augmentation: AugmentationConfig = AugmentationConfig()
    """How training images are changed."""
    early_stopping: EarlyStoppingConfig = EarlyStoppingConfig()
    """When to stop before the budget."""
    objective: Objective = "accuracy"
    """Validation score that picks the best epoch and the best trial; ties go to cross-entropy."""
    minibatch_size: int = Field(32, ge=1, le=65536)
    """Images an optimiser step sees; gd takes all of them whatever this says."""
    label_smoothing: float = Field(0.0, ge=0, lt=1)
    """Probability mass spread over all classes in the training loss."""
    seed: int = Field(0, ge=0, lt=2**31)
    """Origin of weights, order, dropout and augmentation."""
    threads: int = Field(1, ge=1, le=256)
    """CPU threads of one trial; part of its key, because sums change with it."""
