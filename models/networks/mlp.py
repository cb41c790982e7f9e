"""Multilayer perceptron over the image's pixels."""

from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional

from models.config import MlpConfig


class Mlp(nn.Module):
    """Hidden layers of one width, ReLU and dropout after each."""

    def __init__(self, config: MlpConfig, *, channels: int, image_size: int, classes: int) -> None:
        super().__init__()
        widths = [channels * image_size * image_size] + [config.hidden_units] * config.hidden_layers
        self.hidden = nn.ModuleList(nn.Linear(inner, outer) for inner, outer in pairwise(widths))
        self.dropout = nn.Dropout(config.dropout)
        self.output = nn.Linear(config.hidden_units, classes)

    def forward(self, images: Tensor) -> Tensor:
        vectors = torch.flatten(images, 1)  # (n, channels * side * side)
        for layer in self.hidden:
            vectors = self.dropout(functional.relu(layer(vectors)))  # (n, hidden_units)
        logits: Tensor = self.output(vectors)  # (n, classes)
        return logits
