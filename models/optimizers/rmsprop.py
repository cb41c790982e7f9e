"""RMSprop."""

from collections.abc import Iterable
from typing import TYPE_CHECKING, Literal

from pydantic import Field

from models.optimizers.base import OptimizerBase

if TYPE_CHECKING:
    from torch import nn
    from torch.optim import Optimizer


class RmspropConfig(OptimizerBase):
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

    def build(self, parameters: "Iterable[nn.Parameter]") -> "Optimizer":
        from torch.optim import RMSprop  # noqa: PLC0415 - see OptimizerBase

        return RMSprop(
            parameters,
            lr=self.learning_rate,
            alpha=self.decay,
            momentum=self.momentum,
            weight_decay=self.weight_decay,
        )
