"""Augmentations of training images. A file each, and a line each in the table of sequence.py."""

from typing import Annotated

from pydantic import BeforeValidator, Field

from models.augmentations.affine import AffineAugmentation
from models.augmentations.color import ColorAugmentation
from models.augmentations.crop import CropAugmentation
from models.augmentations.erasing import ErasingAugmentation
from models.augmentations.none import NoAugmentation
from models.augmentations.rand_augment import RandAugmentation
from models.augmentations.sequence import SequenceAugmentation, Step
from models.augmentations.shift import ShiftAugmentation


def _list_is_a_sequence(tree: object) -> object:
    """Take a list of augmentations as the sequence of them, and JSON's list of steps as a tuple."""
    if isinstance(tree, list):
        return {"name": "sequence", "steps": tuple(tree)}
    if isinstance(tree, dict) and isinstance(tree.get("steps"), list):
        return tree | {"steps": tuple(tree["steps"])}
    return tree


AugmentationConfig = Annotated[
    # `trial.augmentation.name` chooses one of the steps, and a list several in their order.
    Step | SequenceAugmentation, Field(discriminator="name"), BeforeValidator(_list_is_a_sequence)
]

__all__ = [
    "AffineAugmentation",
    "AugmentationConfig",
    "ColorAugmentation",
    "CropAugmentation",
    "ErasingAugmentation",
    "NoAugmentation",
    "RandAugmentation",
    "SequenceAugmentation",
    "ShiftAugmentation",
]
