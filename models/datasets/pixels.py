"""Pixels of one image: canonical form, content id and conversion to the prepared shape."""

import hashlib
from collections.abc import Sequence
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from models.config.data import ImageForm, Interpolation

Pixels: TypeAlias = NDArray[np.uint8]
"""(height, width, channels), channels 1 (grey) or 3 (red, green, blue)."""
_LUMA = np.array([19595, 38470, 7471], np.uint32)
_SLICE_PIXELS = 2**20
_RESAMPLING: dict[Interpolation, Image.Resampling] = {
    "bilinear": Image.Resampling.BILINEAR,
    "bicubic": Image.Resampling.BICUBIC,
    "lanczos": Image.Resampling.LANCZOS,
}
"""Pillow's filters widen by the factor that they shrink by."""


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


def conform(pixels: Pixels, form: ImageForm) -> Pixels:
    """Convert to (image_size, image_size, channels): channels first, then crop, size and bars.

    Grey of colour is ITU-R 601-2 luma; colour of grey repeats it.
    """
    size = form.image_size
    if form.channels != pixels.shape[2]:
        pixels = _luma(pixels) if form.channels == 1 else np.repeat(pixels, 3, axis=2)
    if form.resize == "centre_crop":
        pixels = _central_square(pixels)
    if form.resize != "letterbox":
        return _resized(pixels, size, size, by=form.interpolation)
    height, width = pixels.shape[:2]
    longer = max(height, width)
    inner = (max(1, round(side * size / longer)) for side in (height, width))
    return _between_bars(_resized(pixels, *inner, by=form.interpolation), size)


def _central_square(pixels: Pixels) -> Pixels:
    """Cut the largest square; of an odd rest the greater part is cut below and on the right."""
    height, width, _ = pixels.shape
    side = min(height, width)
    top, left = (height - side) // 2, (width - side) // 2
    return np.ascontiguousarray(pixels[top : top + side, left : left + side])


def _resized(pixels: Pixels, height: int, width: int, *, by: Interpolation) -> Pixels:
    if pixels.shape[:2] == (height, width):
        return pixels
    picture = Image.fromarray(pixels[:, :, 0] if pixels.shape[2] == 1 else pixels)
    resized = picture.resize((width, height), _RESAMPLING[by])
    return np.asarray(resized).reshape(height, width, pixels.shape[2])


def _between_bars(pixels: Pixels, size: int) -> Pixels:
    """Put pixels into the middle of a black square; an odd row or column goes to the end."""
    height, width, channels = pixels.shape
    if (height, width) == (size, size):
        return pixels
    square = np.zeros((size, size, channels), np.uint8)
    top, left = (size - height) // 2, (size - width) // 2
    square[top : top + height, left : left + width] = pixels
    return square


def _luma(pixels: Pixels) -> Pixels:
    """Grey by Pillow's own integers, so that arrays and files of one image give one grey."""
    height, width, _ = pixels.shape
    grey = np.empty((height, width, 1), np.uint8)
    rows = max(1, _SLICE_PIXELS // width)  # the sums take four times the bytes of a channel
    for start in range(0, height, rows):
        part = slice(start, start + rows)
        grey[part, :, 0] = ((pixels[part].astype(np.uint32) @ _LUMA) + 0x8000) >> 16
    return grey
