"""Layers that several networks, or none of torch.nn, have."""

import torch
from torch import Tensor, nn
from torch.nn import functional


class ConvolutionStack(nn.ModuleList):
    """Convolutions with ReLU, a 2x2 max-pool after each but the last."""

    def forward(self, images: Tensor) -> Tensor:
        # Channels innermost suits the CPU's convolutions; bench/training_rate.py's peer is without.
        features = images.contiguous(memory_format=torch.channels_last)
        *pooled, last = self
        for convolution in pooled:
            # max(relu(x)) = relu(max(x)), and after the pool a quarter of the elements is left.
            features = functional.relu(functional.max_pool2d(convolution(features), 2))
        return functional.relu(last(features))


class ImageRows(nn.Module):
    """Images (n, channels, height, width) as sequences of rows (n, height, channels * width)."""

    def forward(self, images: Tensor) -> Tensor:
        return torch.flatten(images.transpose(1, 2), 2)


class LastState(nn.Module):
    """A recurrent layer's state after the last element: (n, length, inputs) -> (n, hidden)."""

    def __init__(self, recurrent: nn.RNNBase) -> None:
        super().__init__()
        self.recurrent = recurrent

    def forward(self, sequences: Tensor) -> Tensor:
        states, _ = self.recurrent(sequences)
        last: Tensor = states[:, -1]
        return last
