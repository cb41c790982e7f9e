"""Geometric changes of a minibatch of images, each image by its own random numbers."""

import torch
from torch import Tensor
from torch.nn import functional


def shift(images: Tensor, pixels: int, source: torch.Generator, *, reflect: bool = False) -> Tensor:
    """Move each image by up to `pixels` a side, both ways.

    What comes in from outside is 0, or the image mirrored at its border, which is not repeated.
    """
    count, _, height, width = images.shape
    offsets = torch.randint(2 * pixels + 1, (2, count), generator=source)
    rows = offsets[0, :, None] + torch.arange(height)  # (n, height)
    columns = offsets[1, :, None] + torch.arange(width)  # (n, width)
    if reflect:
        padded = images
        rows, columns = _reflect(rows - pixels, height), _reflect(columns - pixels, width)
    else:
        padded = functional.pad(images, (pixels, pixels, pixels, pixels))
    every = torch.arange(count)[:, None, None]
    # (n, height, width, channels)
    moved = padded.permute(0, 2, 3, 1)[every, rows[:, :, None], columns[:, None, :]]
    return moved.permute(0, 3, 1, 2)


def _reflect(places: Tensor, length: int) -> Tensor:
    """Bring places up to length - 1 outside of [0, length) into it, as mirrors at the ends do."""
    return length - 1 - (length - 1 - places.abs()).abs()


def mirror(images: Tensor, source: torch.Generator) -> Tensor:
    """Turn each image left to right with probability 1/2."""
    turned = torch.randint(2, (len(images), 1, 1, 1), generator=source, dtype=torch.bool)
    return torch.where(turned, images.flip(3), images)


def affine(images: Tensor, *, angle: Tensor, zoom: Tensor, moved: Tensor, side: Tensor) -> Tensor:
    """Map each image (n, channels, height, width), uint8, by numbers of its own; uint8 likewise.

    angle: radians, (n,); zoom: factor on distances in the image, (n,); moved: (n, 2), in half
    sides; side: 1, or -1 to mirror, (n,).
    """
    cosine, sine = angle.cos() * zoom, angle.sin() * zoom
    rows = [
        torch.stack([side * cosine, -sine, moved[:, 0]], 1),
        torch.stack([side * sine, cosine, moved[:, 1]], 1),
    ]
    return warp(images, torch.stack(rows, 1))


def warp(images: Tensor, maps: Tensor) -> Tensor:
    """Map each image (n, channels, height, width), uint8, bilinearly; uint8 likewise.

    maps: (n, 2, 3), from places of the result to places of the image, x then y, in half sides. What
    comes in from outside continues the border.
    """
    places = functional.affine_grid(maps, list(images.shape), align_corners=False)
    taken = functional.grid_sample(
        images.to(torch.float32), places, padding_mode="border", align_corners=False
    )
    return taken.round_().to(torch.uint8)
