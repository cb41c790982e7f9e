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
    """Width of the recurrent state, of each direction."""
    hidden_layers: int = Field(1, ge=1, le=8)
    """Recurrent layers, stacked."""
    bidirectional: bool = False
    """Read from the bottom to the top, too (Schuster & Paliwal, 1997)."""
    states: Literal["last", "attention"] = "last"
    """What is classified. last: the state after the last row; attention: a mean of all states, by
    weights that are learnt (Yang et al., 2016)."""
    dropout: float = Field(0.0, ge=0, lt=1)
    """Share of what is classified dropped while training."""

    def build(self, *, channels: int, image_size: int, classes: int) -> "nn.Module":
        """Width: hidden_units, or twice as many of two directions."""
        from torch import nn  # noqa: PLC0415 - see Network

        from models.networks.layers import AttendedStates, ImageRows, LastState  # noqa: PLC0415

        cell = nn.GRU if self.cell == "gru" else nn.LSTM
        recurrent = cell(
            channels * image_size,
            self.hidden_units,
            num_layers=self.hidden_layers,
            batch_first=True,
            bidirectional=self.bidirectional,
        )
        pooled = LastState if self.states == "last" else AttendedStates
        width = self.hidden_units * (2 if self.bidirectional else 1)
        return nn.Sequential(
            OrderedDict[str, nn.Module](
                rows=ImageRows(),  # (n, height, channels * width of the image)
                last=pooled(recurrent),  # (n, width)
                dropout=nn.Dropout(self.dropout),
                output=nn.Linear(width, classes),  # (n, classes)
            )
        )
