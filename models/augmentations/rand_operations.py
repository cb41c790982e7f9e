"""The operations that RandAugment draws from, each on the images it was drawn for.

Own code: torchvision's version changes all images of a minibatch in one way.
"""

import math
from collections.abc import Callable

import torch
from torch import Tensor

from models.augmentations import photometry
from models.augmentations.geometry import warp

Operation = Callable[[Tensor, Tensor], Tensor]
"""Images uint8 (n, channels, height, width) and levels (n,) in [-1, 1] -> images likewise."""

DEGREES, SHEAR, SHARE, FACTOR, BITS = 30.0, 0.3, 150 / 331, 0.9, 4
"""At level 1: rotation; slope; move as share of a side; factor's distance from 1; bits lost."""


def _maps(*rows: tuple[Tensor, Tensor, Tensor]) -> Tensor:
    return torch.stack([torch.stack(row, 1) for row in rows], 1)


def _shear_x(images: Tensor, levels: Tensor) -> Tensor:
    one, none = torch.ones_like(levels), torch.zeros_like(levels)
    return warp(images, _maps((one, levels * SHEAR, none), (none, one, none)))


def _shear_y(images: Tensor, levels: Tensor) -> Tensor:
    one, none = torch.ones_like(levels), torch.zeros_like(levels)
    return warp(images, _maps((one, none, none), (levels * SHEAR, one, none)))


def _move_x(images: Tensor, levels: Tensor) -> Tensor:
    one, none = torch.ones_like(levels), torch.zeros_like(levels)
    return warp(images, _maps((one, none, 2 * SHARE * levels), (none, one, none)))


def _move_y(images: Tensor, levels: Tensor) -> Tensor:
    one, none = torch.ones_like(levels), torch.zeros_like(levels)
    return warp(images, _maps((one, none, none), (none, one, 2 * SHARE * levels)))


def _rotate(images: Tensor, levels: Tensor) -> Tensor:
    angles, none = levels * math.radians(DEGREES), torch.zeros_like(levels)
    rows = ((angles.cos(), -angles.sin(), none), (angles.sin(), angles.cos(), none))
    return warp(images, _maps(*rows))


OPERATIONS: dict[str, Operation] = {
    "identity": lambda images, _: images,
    "shear x": _shear_x,
    "shear y": _shear_y,
    "translate x": _move_x,
    "translate y": _move_y,
    "rotate": _rotate,
    "brightness": lambda images, levels: photometry.brighten(images, 1 + FACTOR * levels),
    "colour": lambda images, levels: photometry.saturate(images, 1 + FACTOR * levels),
    "contrast": lambda images, levels: photometry.contrast(images, 1 + FACTOR * levels),
    "sharpness": lambda images, levels: photometry.sharpen(images, 1 + FACTOR * levels),
    "posterize": lambda images, levels: photometry.posterize(
        images, (8 - BITS * levels.abs()).round()
    ),
    "solarize": lambda images, levels: photometry.solarize(images, 256 * (1 - levels.abs())),
    "autocontrast": lambda images, _: photometry.autocontrast(images),
    "equalize": lambda images, _: photometry.equalize(images),
}
"""The 14 of Cubuk et al. (2020)."""


def apply_operations(images: Tensor, chosen: Tensor, levels: Tensor) -> Tensor:
    """Change each image by the operation of its number in OPERATIONS, at its level.

    chosen, levels: (n,). The images given stay as they are.
    """
    changed = images.clone()
    for number, operation in enumerate(OPERATIONS.values()):
        rows = (chosen == number).nonzero().flatten()
        if len(rows):
            changed[rows] = operation(images[rows], levels[rows])
    return changed
