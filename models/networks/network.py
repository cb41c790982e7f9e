"""What every network's config can do: build the network, and refuse images that do not fit it."""

from typing import TYPE_CHECKING

from models.record import Record

if TYPE_CHECKING:
    from torch import nn


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
