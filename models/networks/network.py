"""What every network's config can do: build the network, and refuse images that do not fit it."""

from pathlib import Path
from typing import TYPE_CHECKING

from models.errors import ConfigError
from models.record import Record

if TYPE_CHECKING:
    from torch import nn


Statistics = tuple[tuple[float, ...], tuple[float, ...]]
"""Mean and standard deviation per channel, in units of pixel / 255."""


class Network(Record):
    """Base of the configs of networks; a subclass names itself and builds an `nn.Module`.

    torch is imported inside `build`: reading params must not wait two seconds for it.
    """

    def build(self, *, channels: int, image_size: int, classes: int) -> "nn.Module":
        """Build (n, channels, image_size, image_size) float32 -> logits (n, classes).

        Weights are drawn from torch's global generator; seed it first.
        """
        raise NotImplementedError

    def check_fits(self, image_size: int) -> None:
        """Raise ValueError where images of image_size pixels a side cannot pass the network."""

    @property
    def shares_statistics(self) -> bool:
        """Whether training mixes what is known of the images of a minibatch, as batch norm does."""
        return False

    @property
    def is_pretrained(self) -> bool:
        """Whether it begins with weights that came with it."""
        return False

    def pretrained_file(self) -> Path:
        """Return a .safetensors file with the weights that came with it.

        Raises ConfigError where there are none.
        """
        raise ConfigError(
            "trial.start.from pretrained: this network comes without weights; choose "
            "trial.network.name=timm, or name a version or a file"
        )

    def pretrained_statistics(self, channels: int) -> Statistics | None:
        """Mean and deviation that those weights ask for; None: any."""
        del channels
        return None
