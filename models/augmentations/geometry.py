"""Geometric changes of a minibatch of images, each image by its own random numbers."""

import torch
from torch import Tensor
from torch.nn import functional


def shift(images: Tensor, pixels: int, source: torch.Generator) -> Tensor:
    """Move each image by up to `pixels` a side, both ways; what comes in from outside is 0."""
    count, _, height, width = images.shape
    padded = functional.pad(images, (pixels, pixels, pixels, pixels))
    offsets = torch.randint(2 * pixels + 1, (2, count), generator=source)
    rows = offsets[0, :, None] + torch.arange(height)  # (n, height)
    columns = offsets[1, :, None] + torch.arange(width)  # (n, width)
    every = torch.arange(count)[:, None, None]
    # (n, height, width, channels)
    moved = padded.permute(0, 2, 3, 1)[every, rows[:, :, None], columns[:, None, :]]
    return moved.permute(0, 3, 1, 2)


def mirror(images: Tensor, source: torch.Generator) -> Tensor:
    """Turn each image left to right with probability 1/2."""
    turned = torch.randint(2, (len(images), 1, 1, 1), generator=source, dtype=torch.bool)
    return torch.where(turned, images.flip(3), images)
