"""Convolutional network; by default the article's."""

from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional

from models.config import CnnConfig


class Cnn(nn.Module):
    """3x3 convolutions without padding, a 2x2 max-pool after each but the last, one dense layer."""

    def __init__(self, config: CnnConfig, *, channels: int, image_size: int, classes: int) -> None:
        super().__init__()
        self.convolutions = nn.ModuleList(
            nn.Conv2d(inner, outer, kernel_size=3)
            for inner, outer in pairwise((channels, *config.channels))
        )
        side = image_size
        for _ in config.channels[:-1]:
            side = (side - 2) // 2
        side -= 2
        self.hidden = nn.Linear(config.channels[-1] * side * side, config.hidden_units)
        self.dropout = nn.Dropout(config.dropout)
        self.output = nn.Linear(config.hidden_units, classes)
        # Channels innermost suits the CPU's convolutions; bench/training_rate.py's peer is without.
        self.to(memory_format=torch.channels_last)  # type: ignore[call-overload] # in no stub

    def forward(self, images: Tensor) -> Tensor:
        # Shapes are of the default network on 28 x 28 x 1.
        features = images.contiguous(memory_format=torch.channels_last)  # (n, 1, 28, 28)
        *pooled, last = self.convolutions
        for convolution in pooled:
            # max(relu(x)) = relu(max(x)), and after the pool a quarter of the elements is left.
            features = functional.max_pool2d(convolution(features), 2)
            features = functional.relu(features)  # (n, 32, 13, 13), (n, 64, 5, 5)
        features = functional.relu(last(features))  # (n, 64, 3, 3)
        vectors = self.dropout(torch.flatten(features, 1))  # (n, 576)
        vectors = functional.relu(self.hidden(vectors))  # (n, 64)
        logits: Tensor = self.output(vectors)  # (n, 10)
        return logits
