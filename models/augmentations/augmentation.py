"""What every augmentation's config can do: change training images at random."""

from typing import TYPE_CHECKING

from models.record import Record

if TYPE_CHECKING:
    from torch import Tensor


class Augmentation(Record):
    """Base of the configs of augmentations; a subclass names itself and changes images.

    torch is imported where images are changed: reading params must not wait two seconds for it.
    """

    def augment(self, images: "Tensor", seed: int) -> "Tensor":
        """Change images (n, channels, height, width), uint8, each in its own way; same shape.

        The seed, one for each (trial seed, epoch, minibatch), decides every change.
        """
        raise NotImplementedError

    def check_fits(self, image_size: int) -> None:
        """Raise ValueError where images of image_size pixels a side cannot be changed so."""
