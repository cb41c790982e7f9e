"""Random change of training images; the seed given decides it."""

import torch
from torch import Tensor
from torch.nn import functional

from models.config.trial import AugmentationConfig, NoAugmentation


def augment(images: Tensor, config: AugmentationConfig, seed: int) -> Tensor:
    """Change images (n, channels, height, width), uint8, each in its own way; same shape."""
    if isinstance(config, NoAugmentation):
        return images
    source = torch.Generator().manual_seed(seed)
    shifted = _shifted(images, config.pixels, source)
    return _mirrored(shifted, source) if config.mirror else shifted


def _shifted(images: Tensor, pixels: int, source: torch.Generator) -> Tensor:
    """Move each image by up to `pixels` a side, both ways; what comes in from outside is 0."""
    count, _, height, width = images.shape
    padded = functional.pad(images, (pixels, pixels, pixels, pixels))
    shifts = torch.randint(2 * pixels + 1, (2, count), generator=source)
    rows = shifts[0, :, None] + torch.arange(height)  # (n, height)
    columns = shifts[1, :, None] + torch.arange(width)  # (n, width)
    every = torch.arange(count)[:, None, None]
    # (n, height, width, channels)
    moved = padded.permute(0, 2, 3, 1)[every, rows[:, :, None], columns[:, None, :]]
    return moved.permute(0, 3, 1, 2)


def _mirrored(images: Tensor, source: torch.Generator) -> Tensor:
    """Turn each image left to right with probability 1/2."""
    turned = torch.randint(2, (len(images), 1, 1, 1), generator=source, dtype=torch.bool)
    return torch.where(turned, images.flip(3), images)
