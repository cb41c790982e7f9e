"""Changes of the light and colour of a minibatch of images, each image by its own number.

Images are uint8 (n, channels, height, width), 1 or 3 channels. Results are Pillow's of the same
name (ImageOps, ImageEnhance) to one level of 255: it cuts fractions off, here they are rounded.
"""

import torch
from torch import Tensor
from torch.nn import functional


def brighten(images: Tensor, factors: Tensor) -> Tensor:
    """Multiply by the factors, (n,)."""
    return _blend(torch.zeros(()), images, factors)


def contrast(images: Tensor, factors: Tensor) -> Tensor:
    """Multiply distances from the image's mean luma by the factors, (n,)."""
    return _blend(_luma(images).mean((2, 3), keepdim=True), images, factors)


def saturate(images: Tensor, factors: Tensor) -> Tensor:
    """Multiply distances from grey by the factors, (n,); grey images stay as they are."""
    return _blend(_luma(images), images, factors) if images.shape[1] > 1 else images


def sharpen(images: Tensor, factors: Tensor) -> Tensor:
    """Multiply distances from the smoothed image by the factors, (n,); border pixels stay."""
    count, channels, height, width = images.shape
    if min(height, width) < 3:
        return images
    smooth = torch.ones(1, 1, 3, 3)
    smooth[..., 1, 1] = 5
    planes = images.to(torch.float32).reshape(count * channels, 1, height, width)
    smoothed = images.to(torch.float32)
    inner = functional.conv2d(planes, smooth / smooth.sum())
    smoothed[..., 1:-1, 1:-1] = inner.reshape(count, channels, height - 2, width - 2)
    return _blend(smoothed, images, factors)


def posterize(images: Tensor, bits: Tensor) -> Tensor:
    """Keep the highest bits of each value; bits: (n,), integers in [0, 8]."""
    step = 2 ** (8 - bits.to(torch.int64)).reshape(-1, 1, 1, 1)
    return (images - images % step).to(torch.uint8)


def solarize(images: Tensor, thresholds: Tensor) -> Tensor:
    """Invert values at or above the thresholds, (n,)."""
    return torch.where(images >= thresholds.reshape(-1, 1, 1, 1), 255 - images, images)


def autocontrast(images: Tensor) -> Tensor:
    """Stretch each channel so that its values reach from 0 to 255; constant ones stay."""
    floats = images.to(torch.float32)
    least, most = floats.amin((2, 3), keepdim=True), floats.amax((2, 3), keepdim=True)
    stretched = (floats - least) * (255 / (most - least).clamp(min=1))
    return torch.where(most > least, stretched.round().to(torch.uint8), images)


def equalize(images: Tensor) -> Tensor:
    """Map each channel so that its values are spread evenly; constant ones stay."""
    count, channels, height, width = images.shape
    planes = images.reshape(count * channels, height * width).to(torch.int64)
    numbers = torch.arange(len(planes))[:, None]
    seen = torch.bincount((planes + 256 * numbers).flatten(), minlength=256 * len(planes))
    seen = seen.reshape(-1, 256)
    # All but the pixels of the highest value share the 255 steps.
    highest = seen.gather(1, planes.amax(1, keepdim=True))
    step = (height * width - highest) // 255
    below = seen.cumsum(1) - seen
    mapped = ((below + step // 2) // step.clamp(min=1)).clamp(max=255)
    spread = mapped.gather(1, planes).reshape(images.shape).to(torch.uint8)
    return torch.where((step > 0).reshape(count, channels, 1, 1), spread, images)


def _luma(images: Tensor) -> Tensor:
    """Rec. 601 luma, float32 (n, 1, height, width)."""
    floats = images.to(torch.float32)
    if images.shape[1] != 3:
        return floats.mean(1, keepdim=True)
    weights = torch.tensor([0.299, 0.587, 0.114]).reshape(1, 3, 1, 1)
    return (floats * weights).sum(1, keepdim=True)


def _blend(base: Tensor, images: Tensor, factors: Tensor) -> Tensor:
    changed = base + factors.reshape(-1, 1, 1, 1) * (images.to(torch.float32) - base)
    return changed.round_().clamp_(0, 255).to(torch.uint8)
