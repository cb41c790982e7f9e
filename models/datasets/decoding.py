"""Decoding of image files to pixels, by one rule for all formats and modes.

EXIF orientation is applied; the first frame of an animation counts; alpha is composited over
white; palettes become colours; CMYK becomes RGB; 16-bit channels keep their upper 8 bits.
"""

import io
import warnings

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from models.datasets.pixels import Pixels
from models.errors import InputError

FORMATS = ("PNG", "JPEG", "BMP", "GIF", "TIFF", "WEBP")
MAX_PIXELS = 2**26
"""67 megapixels: more than cameras take; pixels and intermediate copies are below 1.5 GB."""
MAX_SIDE = 2**15


def decode(file: bytes) -> Pixels:
    """Decode an image file to (height, width, 1 or 3).

    Size is checked in the file's header, before pixels are decoded. Raises InputError, whose
    message is the reason alone, where the file is no image, is damaged or is too large.
    """
    with warnings.catch_warnings():
        filter_warnings()
        return decode_in_thread(file)


def filter_warnings() -> None:
    """Have Pillow's warnings do what decoding needs, in this process from now on."""
    # Damaged metadata is only warned about; pixels that cannot be decoded are raised.
    warnings.simplefilter("ignore")
    # Pillow's own limit, of 89 megapixels, holds for frames that its plugins open, too.
    warnings.simplefilter("error", Image.DecompressionBombWarning)


def decode_in_thread(file: bytes, *, most_pixels: int = MAX_PIXELS) -> Pixels:
    """Decode as `decode` does, for several threads at once, after one called `filter_warnings`.

    The filters of warnings are the process's: threads that set and restored them, each for itself,
    would leave each other without. most_pixels: of one image, at most MAX_PIXELS.
    """
    try:
        return _decode(file, most_pixels)
    except InputError:
        raise
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise InputError(f"is too large ({error})") from error
    except UnidentifiedImageError as error:  # its message is the address of our buffer
        raise InputError(f"cannot be decoded (is no picture in {', '.join(FORMATS)})") from error
    # Pillow's plugins raise nearly anything on damaged files.
    except Exception as error:
        reason = " ".join(str(error).split()) or type(error).__name__
        raise InputError(f"cannot be decoded ({reason})") from error


def check_size(height: int, width: int, *, most_pixels: int = MAX_PIXELS) -> None:
    """Raise InputError where an image of this size is not to be decoded."""
    if min(height, width) < 1:
        raise InputError(f"is {width} x {height} pixels; leave it out")
    if height * width > most_pixels or max(height, width) > MAX_SIDE:
        raise InputError(
            f"is too large: {width} x {height} pixels; at most {most_pixels:,} in all and "
            f"{MAX_SIDE:,} a side are decoded"
        )


def _decode(file: bytes, most_pixels: int) -> Pixels:
    with Image.open(io.BytesIO(file), formats=FORMATS) as picture:
        check_size(picture.height, picture.width, most_pixels=most_pixels)
        picture.load()
        return to_pixels(ImageOps.exif_transpose(picture))


def to_pixels(picture: Image.Image) -> Pixels:
    """Convert a picture of any mode to grey levels or colours."""
    if picture.mode.startswith("I"):
        return _keep_upper_bits(np.asarray(picture))
    if picture.mode == "F":
        raise InputError("has floating-point pixels; save it with 8 or 16 bits a channel")
    if picture.mode in ("1", "L"):
        return np.array(picture.convert("L"))[:, :, None]
    if picture.has_transparency_data:
        picture = _composite_over_white(picture)
    return np.array(picture.convert("RGB"))


def _composite_over_white(picture: Image.Image) -> Image.Image:
    layer = picture.convert("RGBA")
    return Image.alpha_composite(Image.new("RGBA", layer.size, (255, 255, 255, 255)), layer)


def _keep_upper_bits(levels: np.ndarray[tuple[int, int], np.dtype[np.integer]]) -> Pixels:
    if levels.min(initial=0) < 0 or levels.max(initial=0) > 0xFFFF:
        raise InputError("has pixels of more than 16 bits; save it with 8 or 16 bits a channel")
    return (levels.astype(np.uint16) >> 8).astype(np.uint8)[:, :, None]
