"""Images of a page at their own resolution, inside it."""

import base64
import io
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from PIL import Image

MOST_SIDE = 128
"""Larger images are reduced to this, as JPEG: a page holds up to 168 of them (24 fixed and 24
broken images with two maps each, 24 others), and stays below 5 MB. As PNG, noise made 5.1 MB."""
_QUALITY = 90
SHARP_BELOW = 64
"""Pixels a side below which pixels are shown as squares, not blurred into one another."""


@dataclass(frozen=True, slots=True)
class Picture:
    """An image as a page shows it."""

    uri: str
    """PNG, or JPEG where it was reduced, as a data: address."""
    sharp: bool
    """Whether its pixels are shown as squares."""


@dataclass(frozen=True, slots=True)
class Card:
    """An image with what is said of it, line by line; the first line is its true class."""

    picture: Picture
    true: str
    said: tuple[str, ...]
    maps: tuple[Picture, ...] = ()
    """Attribution maps, one for each line, or none."""


def picture_of(image: npt.NDArray[np.uint8]) -> Picture:
    """Encode an image (C, H, W) with C 1 or 3."""
    pixels = image[0] if len(image) == 1 else np.ascontiguousarray(image.transpose(1, 2, 0))
    picture, side = Image.fromarray(pixels), max(image.shape[1:])
    buffer = io.BytesIO()
    if side > MOST_SIDE:
        picture.thumbnail((MOST_SIDE, MOST_SIDE))
        picture.save(buffer, format="JPEG", quality=_QUALITY, subsampling=0)
        return Picture(uri=_uri(buffer.getvalue(), "jpeg"), sharp=False)
    picture.save(buffer, format="PNG", optimize=True)
    return Picture(uri=png_uri(buffer.getvalue()), sharp=side < SHARP_BELOW)


def png_uri(content: bytes) -> str:
    """Return a PNG as an address that holds it."""
    return _uri(content, "png")


def _uri(content: bytes, kind: str) -> str:
    return f"data:image/{kind};base64,{base64.b64encode(content).decode()}"
