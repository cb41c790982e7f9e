"""Random shifts, and mirroring by choice."""

from typing import TYPE_CHECKING, Literal

from pydantic import Field

from models.augmentations.augmentation import Augmentation

if TYPE_CHECKING:
    from torch import Tensor


class ShiftAugmentation(Augmentation):
    """A random shift with zero padding, and a random mirroring by choice."""

    name: Literal["shift"] = "shift"
    pixels: int = Field(2, ge=0, le=64)
    """Largest shift a side, in pixels."""
    mirror: bool = False
    """Turn half of the images left to right."""

    def augment(self, images: "Tensor", seed: int) -> "Tensor":
        import torch  # noqa: PLC0415 - see Augmentation

        from models.augmentations.geometry import mirror, shift  # noqa: PLC0415

        source = torch.Generator().manual_seed(seed)
        shifted = shift(images, self.pixels, source)
        return mirror(shifted, source) if self.mirror else shifted
