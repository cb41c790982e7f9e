"""Recurrent network that reads an image as a sequence of its rows."""

from collections import OrderedDict
from typing import TYPE_CHECKING, Literal

from pydantic import Field

from models.networks.network import Network

if TYPE_CHECKING:
    from torch import nn


class RnnConfig(Network):
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

    def build(self, *, channels: int, image_size: int, classes: int) -> "nn.Module":
        """From the top row to the bottom one; the last state is classified."""
        from torch import nn  # noqa: PLC0415 - see Network

        from models.networks.layers import ImageRows, LastState  # noqa: PLC0415

        cell = nn.GRU if self.cell == "gru" else nn.LSTM
        recurrent = cell(
            channels * image_size,
            self.hidden_units,
            num_layers=self.hidden_layers,
            batch_first=True,
        )
        return nn.Sequential(
            OrderedDict[str, nn.Module](
                rows=ImageRows(),  # (n, height, channels * width)
                last=LastState(recurrent),  # (n, hidden_units)
                dropout=nn.Dropout(self.dropout),
                output=nn.Linear(self.hidden_units, classes),  # (n, classes)
            )
        )
