"""Random change of training images; the generator given decides it."""

import torch
from torch import Tensor
from torch.nn import functional

from models.config.trial import AugmentationConfig


def augment(images: Tensor, config: AugmentationConfig, generator: torch.Generator) -> Tensor:
    """Change images (n, channels, height, width), uint8, each in its own way; same shape."""
    if config.name == "none":
        return images
    return _shifted(images, config.pixels, generator)


def _shifted(images: Tensor, pixels: int, generator: torch.Generator) -> Tensor:
    """Move each image by up to `pixels` a side, both ways; what comes in from outside is 0."""
    count, _, height, width = images.shape
    padded = functional.pad(images, (pixels, pixels, pixels, pixels))
    shifts = torch.randint(2 * pixels + 1, (2, count), generator=generator)
    rows = shifts[0, :, None] + torch.arange(height)  # (n, height)
    columns = shifts[1, :, None] + torch.arange(width)  # (n, width)
    every = torch.arange(count)[:, None, None]
    # (n, height, width, channels): an index between slices goes first
    moved = padded.permute(0, 2, 3, 1)[every, rows[:, :, None], columns[:, None, :]]
    return moved.permute(0, 3, 1, 2)
