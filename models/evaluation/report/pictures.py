"""Images of a page at their own resolution, inside it."""

import base64
import io
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from PIL import Image

MOST_SIDE = 128
"""Larger images are reduced to this: a page holds up to 72 of them, and stays below 5 MB."""
SHARP_BELOW = 64
"""Pixels a side below which pixels are shown as squares, not blurred into one another."""


@dataclass(frozen=True, slots=True)
class Picture:
    """An image as a page shows it."""

    uri: str
    """PNG, as a data: address."""
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
    picture = Image.fromarray(pixels)
    picture.thumbnail((MOST_SIDE, MOST_SIDE))
    buffer = io.BytesIO()
    picture.save(buffer, format="PNG", optimize=True)
    sharp = max(image.shape[1:]) < SHARP_BELOW
    return Picture(uri=png_uri(buffer.getvalue()), sharp=sharp)


def png_uri(content: bytes) -> str:
    """Return a PNG as an address that holds it."""
    return f"data:image/png;base64,{base64.b64encode(content).decode()}"
