"""Adagrad."""

from collections.abc import Iterable
from typing import TYPE_CHECKING, Literal

from pydantic import Field

from models.optimizers.base import OptimizerBase

if TYPE_CHECKING:
    from torch import nn
    from torch.optim import Optimizer


class AdagradConfig(OptimizerBase):
    """Adagrad (Duchi, Hazan & Singer, 2011)."""

    name: Literal["adagrad"] = "adagrad"
    learning_rate: float = Field(0.01, gt=0, le=10)
    """Step size."""
    weight_decay: float = Field(0.0, ge=0, le=1)
    """L2 penalty."""

    def build(self, parameters: "Iterable[nn.Parameter]") -> "Optimizer":
        from torch.optim import Adagrad  # noqa: PLC0415 - see OptimizerBase

        return Adagrad(
            parameters,
            lr=self.learning_rate,
            weight_decay=self.weight_decay,
            fused=True,
        )
