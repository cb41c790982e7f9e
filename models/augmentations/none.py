"""No augmentation."""

from typing import TYPE_CHECKING, Literal

from models.augmentations.augmentation import Augmentation

if TYPE_CHECKING:
    from torch import Tensor


class NoAugmentation(Augmentation):
    """Training images as they are."""

    name: Literal["none"] = "none"

    def augment(self, images: "Tensor", seed: int) -> "Tensor":  # noqa: ARG002 - nothing is random
        return images
