"""Gradient descent: on the whole split, and stochastic on minibatches."""

from collections.abc import Iterable
from typing import TYPE_CHECKING, Literal, Self

from pydantic import Field, model_validator

from models.optimizers.base import OptimizerBase

if TYPE_CHECKING:
    from torch import nn
    from torch.optim import Optimizer


class GdConfig(OptimizerBase):
    """Gradient descent on the whole training split: one step an epoch."""

    name: Literal["gd"] = "gd"
    learning_rate: float = Field(0.1, gt=0, le=100)
    """Step size."""
    weight_decay: float = Field(0.0, ge=0, le=1)
    """L2 penalty."""

    def build(self, parameters: "Iterable[nn.Parameter]") -> "Optimizer":
        from torch.optim import SGD  # noqa: PLC0415 - see OptimizerBase

        return SGD(
            parameters,
            lr=self.learning_rate,
            weight_decay=self.weight_decay,
            fused=True,
        )


class SgdConfig(OptimizerBase):
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

    def build(self, parameters: "Iterable[nn.Parameter]") -> "Optimizer":
        from torch.optim import SGD  # noqa: PLC0415 - see OptimizerBase

        return SGD(
            parameters,
            lr=self.learning_rate,
            momentum=self.momentum,
            nesterov=self.nesterov,
            weight_decay=self.weight_decay,
            fused=True,
        )
