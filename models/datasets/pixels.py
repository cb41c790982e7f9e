"""Pixels: a canonical form for every picture, its id, and conversion to the prepared shape."""

import hashlib
from collections.abc import Sequence
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray
from PIL import Image

Pixels: TypeAlias = NDArray[np.uint8]
"""(height, width, channels), channels 1 (grey) or 3 (red, green, blue)."""


def canonical(pixels: Pixels) -> Pixels:
    """Return grey pixels where the three channels are equal: a copy saved as RGB is a copy."""
    if pixels.shape[2] == 1:
        return pixels
    red = pixels[:, :, :1]
    equal = np.array_equal(red, pixels[:, :, 1:2]) and np.array_equal(red, pixels[:, :, 2:])
    return np.ascontiguousarray(red) if equal else pixels


def content_id(pixels: Pixels) -> bytes:
    """SHA-256 (32 bytes) of shape and canonical pixels: the name of the picture itself."""
    grey = canonical(pixels)
    digest = hashlib.sha256(b"%d %d %d\n" % grey.shape)
    digest.update(np.ascontiguousarray(grey).data)
    return digest.digest()


def content_ids(images: Sequence[Pixels] | NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Return the ids of images, (n, 32)."""
    joined = b"".join(content_id(image) for image in images)
    return np.frombuffer(joined, np.uint8).reshape(-1, 32)


def conform(pixels: Pixels, *, image_size: int, channels: int) -> Pixels:
    """Convert to (image_size, image_size, channels): channels first, then bilinear resizing.

    Grey of colour is ITU-R 601-2 luma; colour of grey repeats it. The aspect ratio is not kept.
    """
    if channels != pixels.shape[2]:
        pixels = _luma(pixels) if channels == 1 else np.repeat(pixels, 3, axis=2)
    if pixels.shape[:2] == (image_size, image_size):
        return pixels
    picture = Image.fromarray(pixels[:, :, 0] if channels == 1 else pixels)
    resized = picture.resize((image_size, image_size), Image.Resampling.BILINEAR)
    return np.asarray(resized).reshape(image_size, image_size, channels)


def _luma(pixels: Pixels) -> Pixels:
    # Pillow's own integers, so that arrays and files of one picture give one grey.
    weighted = pixels.astype(np.uint32) @ np.array([19595, 38470, 7471], np.uint32)
    return ((weighted + 0x8000) >> 16).astype(np.uint8)[:, :, None]
