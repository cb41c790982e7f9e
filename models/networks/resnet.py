"""Small residual network for images of 28 to 128 pixels."""

from collections import OrderedDict
from typing import TYPE_CHECKING, Literal

from pydantic import Field

from models.networks.network import Network

if TYPE_CHECKING:
    from torch import nn


class ResnetConfig(Network):
    """Residual network (He et al., 2016), small enough to be trained on two cores.

    By default 0.70 million parameters; stages halve the side and double the channels. The last gain
    of each block begins at 0, so that the network begins as a shallow one (Goyal et al., 2017).
    """

    name: Literal["resnet"] = "resnet"
    width: int = Field(32, ge=4, le=512)
    """Channels of the first stage; each further stage has twice as many."""
    stages: int = Field(3, ge=1, le=5)
    """Groups of blocks between which the images are halved."""
    depth: int = Field(2, ge=1, le=16)
    """Blocks of each stage, of two convolutions each."""
    stem_stride: Literal[1, 2, 4] | None = None
    """Step of the first convolution; null: 1 below 48 pixels, 2 below 128, 4 from there."""
    norm: Literal["batch", "group"] = "batch"
    """batch: batch normalisation, over the images of a slice of at most 128; group: group
    normalisation over 8 channels or fewer, which needs no other images."""
    squeeze_excite: bool = False
    """Weigh channels by what the whole image shows (Hu et al., 2018)."""
    stochastic_depth: float = Field(0.0, ge=0, lt=1)
    """Probability with which the last block is left out while training; earlier ones less, in
    proportion to their place (Huang et al., 2016)."""
    dropout: float = Field(0.0, ge=0, lt=1)
    """Share of the pooled features dropped while training."""

    def build(self, *, channels: int, image_size: int, classes: int) -> "nn.Module":
        """Shapes in the comments are of the default network on 64 x 64 x 3."""
        import torch  # noqa: PLC0415 - see Network
        from torch import nn  # noqa: PLC0415

        from models.networks.residual import GlobalMean, ResidualBlock, stem  # noqa: PLC0415

        layers = OrderedDict[str, nn.Module](
            stem=stem(channels, self.width, stride=self._stem_stride(image_size), norm=self.norm)
        )  # (n, 32, 32, 32)
        inner, blocks = self.width, self.stages * self.depth
        for number in range(blocks):
            stage, place = divmod(number, self.depth)
            outer = self.width * 2**stage
            layers[f"block_{number + 1}"] = ResidualBlock(
                inner,
                outer,
                stride=2 if stage and place == 0 else 1,
                norm=self.norm,
                squeeze_excite=self.squeeze_excite,
                left_out=self.stochastic_depth * (number + 1) / blocks,
            )  # (n, 32, 32, 32), then (n, 64, 16, 16), then (n, 128, 8, 8)
            inner = outer
        layers["pool"] = GlobalMean()  # (n, 128)
        layers["dropout"] = nn.Dropout(self.dropout)
        layers["output"] = nn.Linear(inner, classes)
        return nn.Sequential(layers).to(memory_format=torch.channels_last)  # type: ignore[call-overload, no-any-return] # in no stub

    def check_fits(self, image_size: int) -> None:
        """Raise ValueError where a stage would see less than 2 x 2 pixels."""
        sides = [-(-image_size // self._stem_stride(image_size))]
        for _ in range(self.stages - 1):
            sides.append(-(-sides[-1] // 2))
        if sides[-1] < 2:
            listed = ", ".join(str(side) for side in sides)
            raise ValueError(
                f"images of {image_size} pixels are too small for {self.stages} stages, which see "
                f"{listed} pixels a side and need 2: raise data.image_size, or lower "
                "trial.network.stages or stem_stride"
            )

    @property
    def shares_statistics(self) -> bool:
        """Batch normalisation takes means over images."""
        return self.norm == "batch"

    def _stem_stride(self, image_size: int) -> int:
        if self.stem_stride is not None:
            return self.stem_stride
        return 1 if image_size < 48 else 2 if image_size < 128 else 4
