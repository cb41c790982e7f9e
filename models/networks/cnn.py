"""Convolutional network; by default the article's."""

from collections import OrderedDict
from itertools import pairwise
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field

from models.networks.network import Network

if TYPE_CHECKING:
    from torch import nn


class CnnConfig(Network):
    """Convolutional network: the article's case by default (93,322 parameters on 28x28x1)."""

    name: Literal["cnn"] = "cnn"
    channels: tuple[Annotated[int, Field(ge=1, le=1024)], ...] = Field((32, 64, 64), min_length=1)
    """Channels of each 3x3 convolution; a 2x2 max-pool follows each but the last."""
    hidden_units: int = Field(64, ge=1, le=8192)
    """Width of the dense layer before the output."""
    dropout: float = Field(0.0, ge=0, lt=1)
    """Share of the dense layer's inputs dropped while training."""

    def build(self, *, channels: int, image_size: int, classes: int) -> "nn.Module":
        """Shapes in the comments are of the default network on 28 x 28 x 1."""
        import torch  # noqa: PLC0415 - see Network
        from torch import nn  # noqa: PLC0415

        from models.networks.layers import ConvolutionStack  # noqa: PLC0415

        widths = pairwise((channels, *self.channels))
        convolutions = [nn.Conv2d(inner, outer, kernel_size=3) for inner, outer in widths]
        features = self.channels[-1] * self._side(image_size) ** 2
        network = nn.Sequential(
            OrderedDict[str, nn.Module](
                convolutions=ConvolutionStack(convolutions),  # (n, 64, 3, 3)
                flat=nn.Flatten(),  # (n, 576)
                dropout=nn.Dropout(self.dropout),
                hidden=nn.Linear(features, self.hidden_units),  # (n, 64)
                relu=nn.ReLU(),
                output=nn.Linear(self.hidden_units, classes),  # (n, 10)
            )
        )
        return network.to(memory_format=torch.channels_last)  # type: ignore[call-overload, no-any-return] # in no stub

    def check_fits(self, image_size: int) -> None:
        """Raise ValueError where convolutions and pools would leave no pixel."""
        if self._side(image_size) < 1:
            raise ValueError(
                f"images of {image_size} pixels are too small for {len(self.channels)} "
                "convolutions with pools between them: raise data.image_size or shorten "
                "trial.network.channels"
            )

    def _side(self, image_size: int) -> int:
        """Pixels a side after the last convolution."""
        for _ in self.channels[:-1]:
            image_size = (image_size - 2) // 2
        return image_size - 2
