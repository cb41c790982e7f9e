"""Convolutional network; by default the article's."""

from collections import OrderedDict
from collections.abc import Iterator
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
    """Channels of each convolution; a 2x2 max-pool follows each but the last."""
    kernel: Literal[1, 3, 5, 7, 9] = 3
    """Pixels a side that a convolution sees."""
    padding: Literal["none", "same"] = "none"
    """same: zeros around the image, so that a convolution leaves its size."""
    normalisation: Literal["none", "batch", "group"] = "none"
    """After each convolution, as `norm` of `resnet`, whose default would be another one."""
    head: Literal["flattened", "global"] = "flattened"
    """What the dense layer sees: every pixel of the last convolution, or the mean of each channel,
    which takes fewer parameters and asks no place."""
    hidden_units: int = Field(64, ge=1, le=8192)
    """Width of the dense layer before the output."""
    dropout: float = Field(0.0, ge=0, lt=1)
    """Share of the dense layer's inputs dropped while training."""

    def build(self, *, channels: int, image_size: int, classes: int) -> "nn.Module":
        """Shapes in the comments are of the default network on 28 x 28 x 1."""
        import torch  # noqa: PLC0415 - see Network
        from torch import nn  # noqa: PLC0415

        from models.networks.layers import ConvolutionStack  # noqa: PLC0415
        from models.networks.residual import GlobalMean  # noqa: PLC0415

        widths = pairwise((channels, *self.channels))
        convolutions = [self._convolution(inner, outer) for inner, outer in widths]
        flattened = self.head == "flattened"
        *_, (_, side) = self._sides(image_size)
        pixels = side**2 if flattened else 1
        network = nn.Sequential(
            OrderedDict[str, nn.Module](
                convolutions=ConvolutionStack(convolutions),  # (n, 64, 3, 3)
                flat=nn.Flatten() if flattened else GlobalMean(),  # (n, 576)
                dropout=nn.Dropout(self.dropout),
                hidden=nn.Linear(self.channels[-1] * pixels, self.hidden_units),  # (n, 64)
                relu=nn.ReLU(),
                output=nn.Linear(self.hidden_units, classes),  # (n, 10)
            )
        )
        return network.to(memory_format=torch.channels_last)  # type: ignore[call-overload, no-any-return] # in no stub

    def check_fits(self, image_size: int) -> None:
        """Raise ValueError, with the sizes up to there, where a layer would see too few pixels."""
        # One value alone, of one image of one pixel, has no deviation.
        least = 1 if self.normalisation == "none" else 2
        shown = [str(image_size)]
        for layer, side in self._sides(image_size):
            shown += [layer, str(max(side, 0))]
            if side < (least if layer.startswith("conv") else 1):
                raise ValueError(
                    f"images of {image_size} pixels are too small for {len(self.channels)} "
                    f"convolutions with pools between them: {' -> '.join(shown)}, and {least} "
                    "must be left: raise data.image_size, shorten trial.network.channels, lower "
                    "its kernel, or choose padding: same"
                )

    @property
    def shares_statistics(self) -> bool:
        """Batch normalisation takes means over images."""
        return self.normalisation == "batch"

    def _sides(self, side: int) -> Iterator[tuple[str, int]]:
        """Yield each convolution and pool, and the pixels a side after it; below 1: impossible."""
        for number in range(len(self.channels)):
            if number:
                side //= 2
                yield "pool 2", side
            side -= self.kernel - 1 if self.padding == "none" else 0
            yield f"conv {self.kernel}", side

    def _convolution(self, inner: int, outer: int) -> "nn.Module":
        from torch import nn  # noqa: PLC0415

        from models.networks.residual import normalisation  # noqa: PLC0415

        around = self.kernel // 2 if self.padding == "same" else 0
        if self.normalisation == "none":
            return nn.Conv2d(inner, outer, kernel_size=self.kernel, padding=around)
        # The normalisation would take a bias away again.
        convolution = nn.Conv2d(inner, outer, self.kernel, padding=around, bias=False)
        return nn.Sequential(convolution, normalisation(outer, self.normalisation))
