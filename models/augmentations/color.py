"""Random brightness, contrast and saturation."""

from typing import TYPE_CHECKING, Literal

from pydantic import Field

from models.augmentations.augmentation import Augmentation

if TYPE_CHECKING:
    from torch import Tensor


class ColorAugmentation(Augmentation):
    """Each image's light changed by factors of its own, drawn from 1 - size to 1 + size."""

    name: Literal["color"] = "color"
    brightness: float = Field(0.3, ge=0, lt=1)
    """Size of the factor on all pixels."""
    contrast: float = Field(0.3, ge=0, lt=1)
    """Size of the factor on the distance from the image's mean."""
    saturation: float = Field(0.0, ge=0, lt=1)
    """Size of the factor on the distance from grey; grey images stay as they are."""

    def augment(self, images: "Tensor", seed: int) -> "Tensor":
        import torch  # noqa: PLC0415 - see Augmentation

        source = torch.Generator().manual_seed(seed)

        def factor(size: float) -> "Tensor":
            return 1 + (2 * torch.rand(len(images), 1, 1, 1, generator=source) - 1) * size

        changed = images.to(torch.float32)
        saturated, contrasted, lit = map(factor, (self.saturation, self.contrast, self.brightness))
        if self.saturation:
            grey = changed.mean(1, keepdim=True)
            changed = (changed - grey) * saturated + grey
        mean = changed.mean((1, 2, 3), keepdim=True)
        changed = ((changed - mean) * contrasted + mean) * lit
        return changed.round_().clamp_(0, 255).to(torch.uint8)
