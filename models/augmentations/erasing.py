"""Random erasing."""

from typing import TYPE_CHECKING, Literal

from pydantic import Field

from models.augmentations.augmentation import Augmentation

if TYPE_CHECKING:
    from torch import Tensor


class ErasingAugmentation(Augmentation):
    """A rectangle of each image, at random, filled with its mean (after Zhong et al., 2020)."""

    name: Literal["erasing"] = "erasing"
    probability: float = Field(0.5, ge=0, le=1)
    """Share of the images changed."""
    side: float = Field(0.4, gt=0, le=1)
    """Largest side of the rectangle, as a share of the image's."""

    def augment(self, images: "Tensor", seed: int) -> "Tensor":
        import torch  # noqa: PLC0415 - see Augmentation

        source = torch.Generator().manual_seed(seed)
        count, _, height, width = images.shape
        drawn = torch.rand(5, count, 1, generator=source)

        def inside(length: int, size: "Tensor", place: "Tensor") -> "Tensor":
            """Which of the pixels along an axis are in the rectangle, (n, length)."""
            extent = size * self.side * length
            begin = place * (length - extent)
            centres = torch.arange(length) + 0.5
            return (centres >= begin) & (centres < begin + extent)

        rows, columns = inside(height, drawn[0], drawn[1]), inside(width, drawn[2], drawn[3])
        chosen = drawn[4] < self.probability
        erased = rows[:, None, :, None] & columns[:, None, None, :] & chosen[:, :, None, None]
        means = images.to(torch.float32).mean((2, 3), keepdim=True).to(torch.uint8)
        return torch.where(erased, means, images)
