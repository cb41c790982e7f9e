"""Layers that several networks, or none of torch.nn, have."""

import torch
from torch import Tensor, nn
from torch.nn import functional


class ConvolutionStack(nn.ModuleList):
    """Convolutions, normalised or not, with ReLU, a 2x2 max-pool after each but the last."""

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
    """A recurrent layer's state after the last element: (n, length, inputs) -> (n, width).

    Of two directions each has its own last element: the second one ends at the first.
    """

    def __init__(self, recurrent: nn.RNNBase) -> None:
        super().__init__()
        self.recurrent = recurrent

    def forward(self, sequences: Tensor) -> Tensor:
        states, _ = self.recurrent(sequences)
        last: Tensor = states[:, -1]
        if self.recurrent.bidirectional:
            width = self.recurrent.hidden_size
            return torch.cat((last[:, :width], states[:, 0, width:]), dim=1)
        return last


class AttendedStates(nn.Module):
    """Mean of a recurrent layer's states by learnt weights: (n, length, inputs) -> (n, width)."""

    def __init__(self, recurrent: nn.RNNBase) -> None:
        super().__init__()
        width = recurrent.hidden_size * (2 if recurrent.bidirectional else 1)
        self.recurrent = recurrent
        self.key = nn.Linear(width, width)
        self.query = nn.Linear(width, 1, bias=False)

    def forward(self, sequences: Tensor) -> Tensor:
        states, _ = self.recurrent(sequences)  # (n, length, width)
        relevance = self.query(torch.tanh(self.key(states)))  # (n, length, 1)
        return torch.sum(torch.softmax(relevance, dim=1) * states, dim=1)
