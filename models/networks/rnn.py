"""Recurrent network that reads an image as a sequence of its rows."""

import torch
from torch import Tensor, nn

from models.config import RnnConfig


class Rnn(nn.Module):
    """GRU or LSTM from the top row to the bottom one; the last state is classified."""

    def __init__(self, config: RnnConfig, *, channels: int, image_size: int, classes: int) -> None:
        super().__init__()
        cell = nn.GRU if config.cell == "gru" else nn.LSTM
        self.recurrent = cell(
            channels * image_size,
            config.hidden_units,
            num_layers=config.hidden_layers,
            batch_first=True,
        )
        self.dropout = nn.Dropout(config.dropout)
        self.output = nn.Linear(config.hidden_units, classes)

    def forward(self, images: Tensor) -> Tensor:
        rows = torch.flatten(images.transpose(1, 2), 2)  # (n, height, channels * width)
        states, _ = self.recurrent(rows)  # (n, height, hidden_units)
        logits: Tensor = self.output(self.dropout(states[:, -1]))  # (n, classes)
        return logits
