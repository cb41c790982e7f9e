"""Muon."""

from collections.abc import Iterable
from typing import TYPE_CHECKING, Literal

from pydantic import Field

from models.optimizers.base import OptimizerBase

if TYPE_CHECKING:
    from torch import nn
    from torch.optim import Optimizer


class MuonConfig(OptimizerBase):
    """Muon (Jordan et al., 2024): momentum made orthogonal, for the matrices of hidden layers.

    Kernels of convolutions are matrices of a row an output. The last matrix, of the output layer,
    and all biases and gains are moved by AdamW at the same rate, to whose steps Muon's are scaled
    (Liu et al., 2025).
    """

    name: Literal["muon"] = "muon"
    learning_rate: float = Field(0.001, gt=0, le=10)
    """Step size, of AdamW's order."""
    momentum: float = Field(0.95, ge=0, lt=1)
    """Decay of the gradient's running mean."""
    nesterov: bool = True
    """Nesterov's form of momentum."""
    weight_decay: float = Field(0.01, ge=0, le=1)
    """Share of the step size by which matrices shrink a step."""

    def build(self, parameters: "Iterable[nn.Parameter]") -> "Optimizer":
        from models.optimizers.muon_with_adamw import MuonWithAdamW  # noqa: PLC0415 - imports torch

        return MuonWithAdamW(
            parameters,
            lr=self.learning_rate,
            momentum=self.momentum,
            nesterov=self.nesterov,
            weight_decay=self.weight_decay,
        )
