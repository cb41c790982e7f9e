"""Several augmentations, one after the other."""

from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field

from models.augmentations.affine import AffineAugmentation
from models.augmentations.augmentation import Augmentation
from models.augmentations.color import ColorAugmentation
from models.augmentations.crop import CropAugmentation
from models.augmentations.erasing import ErasingAugmentation
from models.augmentations.none import NoAugmentation
from models.augmentations.rand_augment import RandAugmentation
from models.augmentations.shift import ShiftAugmentation

if TYPE_CHECKING:
    from torch import Tensor

Step = Annotated[
    # One augmentation, the table of them; docs/extending.md adds one.
    NoAugmentation
    | ShiftAugmentation
    | CropAugmentation
    | AffineAugmentation
    | ColorAugmentation
    | ErasingAugmentation
    | RandAugmentation,
    Field(discriminator="name"),
]


class SequenceAugmentation(Augmentation):
    """What a list in the params means: its steps in their order."""

    name: Literal["sequence"] = "sequence"
    steps: tuple[Step, ...] = Field(min_length=1)
    """Augmentations, each with random numbers of its own."""

    def check_fits(self, image_size: int) -> None:
        """Raise ValueError where a step does."""
        for step in self.steps:
            step.check_fits(image_size)

    def augment(self, images: "Tensor", seed: int) -> "Tensor":
        import numpy as np  # noqa: PLC0415 - see Augmentation

        seeds = np.random.SeedSequence(seed).generate_state(len(self.steps), np.uint32)
        for step, own in zip(self.steps, seeds, strict=True):
            images = step.augment(images, int(own))
        return images
