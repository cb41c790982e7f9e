"""Multilayer perceptron over the image's pixels."""

from collections import OrderedDict
from itertools import pairwise
from typing import TYPE_CHECKING, Literal

from pydantic import Field

from models.networks.network import Network

if TYPE_CHECKING:
    from torch import nn


class MlpConfig(Network):
    """Multilayer perceptron, the article's NN."""

    name: Literal["mlp"] = "mlp"
    hidden_units: int = Field(128, ge=1, le=8192)
    """Width of each hidden layer."""
    hidden_layers: int = Field(2, ge=1, le=16)
    """Number of hidden layers."""
    dropout: float = Field(0.0, ge=0, lt=1)
    """Share of each hidden layer dropped while training."""

    def build(self, *, channels: int, image_size: int, classes: int) -> "nn.Module":
        """Pixels (n, channels * side * side), hidden (n, hidden_units), logits (n, classes)."""
        from torch import nn  # noqa: PLC0415 - see Network

        widths = [channels * image_size * image_size] + [self.hidden_units] * self.hidden_layers
        hidden = [
            layer
            for inner, outer in pairwise(widths)
            for layer in (nn.Linear(inner, outer), nn.ReLU(), nn.Dropout(self.dropout))
        ]
        return nn.Sequential(
            OrderedDict[str, nn.Module](
                flat=nn.Flatten(),
                hidden=nn.Sequential(*hidden),
                output=nn.Linear(self.hidden_units, classes),
            )
        )
