"""RandAugment: a few operations an image, drawn from fourteen, all of one magnitude."""

from typing import TYPE_CHECKING, Literal

from pydantic import Field

from models.augmentations.augmentation import Augmentation

if TYPE_CHECKING:
    from torch import Tensor

_GREATEST = 30


class RandAugmentation(Augmentation):
    """RandAugment (Cubuk et al., 2020): each image changed by operations of its own.

    Drawn alike from: none, shear and translation along either axis, rotation, brightness, colour,
    contrast, sharpness, posterize, solarize, autocontrast, equalize. Maps are bilinear; pixels at
    the border are continued outwards. `colour` leaves grey images as they are.
    """

    name: Literal["rand_augment"] = "rand_augment"
    operations: int = Field(2, ge=1, le=10)
    """Operations an image, one after another (the paper's N)."""
    magnitude: float = Field(9.0, ge=0, le=_GREATEST)
    """Strength of all of them (the paper's M). At 30: rotation by 30 degrees, shear by 0.3, moves
    by 0.45 of a side, factors of 0.1 or 1.9, 4 bits lost, all inverted; less in proportion."""

    def augment(self, images: "Tensor", seed: int) -> "Tensor":
        import torch  # noqa: PLC0415 - see Augmentation

        from models.augmentations.rand_operations import (  # noqa: PLC0415 - likewise
            OPERATIONS,
            apply_operations,
        )

        source = torch.Generator().manual_seed(seed)
        for _ in range(self.operations):
            chosen = torch.randint(len(OPERATIONS), (len(images),), generator=source)
            signs = 2 * torch.randint(2, (len(images),), generator=source) - 1
            images = apply_operations(images, chosen, signs * (self.magnitude / _GREATEST))
        return images
