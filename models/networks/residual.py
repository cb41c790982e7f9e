"""Parts of residual networks."""

from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional

Norm = Literal["batch", "group"]
_GROUP = 8


def normalisation(channels: int, norm: Norm) -> nn.Module:
    """Normalise features (n, channels, height, width), with a gain and an offset a channel."""
    if norm == "batch":
        return nn.BatchNorm2d(channels)
    groups = max(1, channels // _GROUP)
    while channels % groups:
        groups -= 1
    return nn.GroupNorm(groups, channels)


def stem(channels: int, width: int, *, stride: int, norm: Norm) -> nn.Module:
    """First convolution, without the bias that the normalisation would take away again."""
    convolution = nn.Conv2d(channels, width, 3, stride=stride, padding=1, bias=False)
    return nn.Sequential(convolution, normalisation(width, norm), nn.ReLU())


class ResidualBlock(nn.Module):
    """Two 3x3 convolutions beside a short cut: (n, inner, h, w) -> (n, outer, h/stride, w/stride).

    A short cut that changes shape averages pixels, then maps channels by a 1x1 convolution (He et
    al., 2019, ResNet-D).
    """

    def __init__(  # noqa: PLR0913 - each is a fact of the block
        self,
        inner: int,
        outer: int,
        *,
        stride: int,
        norm: Norm,
        squeeze_excite: bool,
        left_out: float,
    ) -> None:
        super().__init__()
        self.left_out = left_out
        last = normalisation(outer, norm)
        nn.init.zeros_(last.weight)  # type: ignore[arg-type] # both kinds have a gain
        self.branch = nn.Sequential(
            nn.Conv2d(inner, outer, 3, stride=stride, padding=1, bias=False),
            normalisation(outer, norm),
            nn.ReLU(),
            nn.Conv2d(outer, outer, 3, padding=1, bias=False),
            last,
            SqueezeExcite(outer) if squeeze_excite else nn.Identity(),
        )
        self.short_cut: nn.Module = nn.Identity()
        if stride > 1 or inner != outer:
            self.short_cut = nn.Sequential(
                nn.AvgPool2d(stride, ceil_mode=True) if stride > 1 else nn.Identity(),
                nn.Conv2d(inner, outer, 1, bias=False),
                normalisation(outer, norm),
            )

    def forward(self, features: Tensor) -> Tensor:
        # Channels innermost suits the CPU's convolutions; after the first block nothing is moved.
        features = features.contiguous(memory_format=torch.channels_last)
        branch = self.branch(features)
        if self.training and self.left_out:
            drawn = torch.rand(len(branch), 1, 1, 1, device=branch.device)
            branch = branch * (drawn >= self.left_out) / (1 - self.left_out)
        return functional.relu(self.short_cut(features) + branch)


class SqueezeExcite(nn.Module):
    """Weigh each channel by a number in (0, 1) made of all channels' means (Hu et al., 2018)."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        squeezed = max(4, channels // 8)
        self.squeeze = nn.Linear(channels, squeezed)
        self.excite = nn.Linear(squeezed, channels)

    def forward(self, features: Tensor) -> Tensor:
        means = features.mean((2, 3))  # (n, channels)
        weights = torch.sigmoid(self.excite(functional.relu(self.squeeze(means))))
        return features * weights[:, :, None, None]


class GlobalMean(nn.Module):
    """Mean of each channel over the image: (n, channels, h, w) -> (n, channels)."""

    def forward(self, features: Tensor) -> Tensor:
        return features.mean((2, 3))
