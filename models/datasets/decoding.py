"""Decoding: image files to canonical pixels, by one rule for every format and mode.

EXIF orientation is applied; the first frame of an animation counts; alpha is composited over
white; palettes become colours; CMYK becomes RGB; 16 bits keep their upper 8.
"""

import io
import warnings

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from models.datasets.pixels import Pixels
from models.errors import InputError

FORMATS = ("PNG", "JPEG", "BMP", "GIF", "TIFF", "WEBP")
MAX_PIXELS = 2**26
"""67 megapixels: above any camera's photograph, far below what a decompression bomb unpacks to."""


def decode(file: bytes) -> Pixels:
    """Decode an image file to (height, width, 1 or 3).

    Raises InputError, with the reason only, where it is no image, is damaged or too large.
    """
    try:
        with warnings.catch_warnings():
            # Damaged metadata is warned about; pixels that cannot be decoded are raised.
            warnings.simplefilter("ignore")
            return _decode(file)
    except InputError:
        raise
    except Image.DecompressionBombError as error:
        raise InputError(f"is too large ({error})") from error
    except UnidentifiedImageError as error:  # its message is the address of our buffer
        raise InputError(f"cannot be decoded (is no picture in {', '.join(FORMATS)})") from error
    # Pillow's plugins raise nearly anything on damaged files.
    except Exception as error:
        reason = " ".join(str(error).split()) or type(error).__name__
        raise InputError(f"cannot be decoded ({reason})") from error


def _decode(file: bytes) -> Pixels:
    with Image.open(io.BytesIO(file), formats=FORMATS) as picture:
        width, height = picture.size
        if width * height > MAX_PIXELS:
            raise InputError(f"is {width} x {height} pixels; at most {MAX_PIXELS} are decoded")
        picture.load()
        return levels(ImageOps.exif_transpose(picture))


def levels(picture: Image.Image) -> Pixels:
    """Return the picture's grey levels or colours, whatever its mode."""
    if picture.mode.startswith("I"):
        return _upper_bits(np.asarray(picture))
    if picture.mode == "F":
        raise InputError("has floating-point pixels; save it with 8 or 16 bits a channel")
    if picture.mode in ("1", "L"):
        return np.array(picture.convert("L"))[:, :, None]
    if picture.has_transparency_data:
        picture = _over_white(picture)
    return np.array(picture.convert("RGB"))


def _over_white(picture: Image.Image) -> Image.Image:
    layer = picture.convert("RGBA")
    return Image.alpha_composite(Image.new("RGBA", layer.size, (255, 255, 255, 255)), layer)


def _upper_bits(levels: np.ndarray[tuple[int, int], np.dtype[np.integer]]) -> Pixels:
    if levels.min(initial=0) < 0 or levels.max(initial=0) > 0xFFFF:
        raise InputError("has pixels of more than 16 bits; save it with 8 or 16 bits a channel")
    return (levels.astype(np.uint16) >> 8).astype(np.uint8)[:, :, None]
