"""Pixels of one image: canonical form, content id and conversion to the prepared shape."""

import hashlib
from collections.abc import Sequence
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray
from PIL import Image

Pixels: TypeAlias = NDArray[np.uint8]
"""(height, width, channels), channels 1 (grey) or 3 (red, green, blue)."""
_LUMA = np.array([19595, 38470, 7471], np.uint32)
_SLICE_PIXELS = 2**20


def canonical(pixels: Pixels) -> Pixels:
    """Return grey pixels where the three channels are equal: a copy saved as RGB is a copy."""
    if pixels.shape[2] == 1:
        return pixels
    red = pixels[:, :, :1]
    equal = np.array_equal(red, pixels[:, :, 1:2]) and np.array_equal(red, pixels[:, :, 2:])
    return np.ascontiguousarray(red) if equal else pixels


def content_id(pixels: Pixels) -> bytes:
    """SHA-256 (32 bytes) of the shape and the canonical pixels: the image's identity."""
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
    """Grey by Pillow's own integers, so that arrays and files of one image give one grey."""
    height, width, _ = pixels.shape
    grey = np.empty((height, width, 1), np.uint8)
    rows = max(1, _SLICE_PIXELS // width)  # the sums take four times the bytes of a channel
    for start in range(0, height, rows):
        part = slice(start, start + rows)
        grey[part, :, 0] = ((pixels[part].astype(np.uint32) @ _LUMA) + 0x8000) >> 16
    return grey
