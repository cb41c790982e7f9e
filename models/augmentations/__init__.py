"""Augmentations of training images. A file each, and a line each in the table below."""

from typing import Annotated

from pydantic import Field

from models.augmentations.none import NoAugmentation
from models.augmentations.shift import ShiftAugmentation

AugmentationConfig = Annotated[
    # `trial.augmentation.name` chooses one; docs/extending.md adds one.
    NoAugmentation | ShiftAugmentation,
    Field(discriminator="name"),
]

__all__ = ["AugmentationConfig", "NoAugmentation", "ShiftAugmentation"]
