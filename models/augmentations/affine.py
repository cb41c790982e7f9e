"""Random rotation, scale, translation and mirroring, in one interpolation."""

import math
from typing import TYPE_CHECKING, Literal

from pydantic import Field

from models.augmentations.augmentation import Augmentation

if TYPE_CHECKING:
    from torch import Tensor


class AffineAugmentation(Augmentation):
    """A random affine map of each image, bilinear; pixels at the border are continued outwards."""

    name: Literal["affine"] = "affine"
    degrees: float = Field(15.0, ge=0, le=180)
    """Largest rotation, both ways."""
    scale: float = Field(0.15, ge=0, lt=1)
    """Largest share by which an image is made larger or smaller."""
    translate: float = Field(0.1, ge=0, le=1)
    """Largest move along each axis, as a share of the side."""
    mirror: bool = False
    """Turn half of the images left to right."""

    def augment(self, images: "Tensor", seed: int) -> "Tensor":
        import torch  # noqa: PLC0415 - see Augmentation

        from models.augmentations.geometry import affine  # noqa: PLC0415

        source = torch.Generator().manual_seed(seed)

        def drawn(size: float, *shape: int) -> "Tensor":
            """Uniform numbers in [-size, size)."""
            return (2 * torch.rand(len(images), *shape, generator=source) - 1) * size

        angle, zoom = drawn(math.radians(self.degrees)), 1 + drawn(self.scale)
        # The map is from places of the result to places of the image, in half sides.
        moved = drawn(2 * self.translate, 2)
        side = torch.where(drawn(1.0) < 0, -1.0, 1.0) if self.mirror else torch.ones(len(images))
        return affine(images, angle=angle, zoom=zoom, moved=moved, side=side)
