"""Conversion of labels of any kind to numbers, and of pixels of any kind to bytes."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from models.datasets.decoding import check_size, to_pixels
from models.datasets.labelled_images import Labels
from models.datasets.sources.paths import MAX_CLASSES, class_names
from models.errors import InputError

MAX_IMAGES = 10_000_000
"""Of one source; about 200 bytes of each are held in memory besides its pixels."""
MAX_GROUP = 1000
"""Characters of a group's name."""
_CHANNELS = (1, 3, 4)


def check_count(images: int, *, where: str) -> None:
    """Raise InputError where a source has more than MAX_IMAGES."""
    if images > MAX_IMAGES:
        raise InputError(f"{where}: {images:,} images; at most {MAX_IMAGES:,} are read at once")


def check_shape(shape: Sequence[int], *, where: str) -> None:
    """Raise InputError where an image of shape (h, w), (h, w, c) or (c, h, w) is too large."""
    channels_first = len(shape) == 3 and shape[2] not in _CHANNELS
    height, width = shape[1:] if channels_first else shape[:2]
    try:
        check_size(height, width)
    except InputError as error:
        raise InputError(f"{where}: {error}") from None


def number_labels(
    values: NDArray[np.generic], names: Sequence[str] | None, *, where: str
) -> tuple[tuple[str, ...], Labels]:
    """Return class names and numeric labels.

    values: (n,) integers, which `names` names, else they name themselves; or names, then numbered
    in sorted order. Raises InputError for labels that are negative, fractions or beyond the names.
    """
    if values.dtype.kind == "U":
        found, labels = np.unique(values, return_inverse=True)
        return class_names(found.tolist(), where=where), labels.astype(np.int64)
    if values.dtype.kind not in "iu":
        raise InputError(f"{where}: labels are {values.dtype}; integers or names are wanted")
    lowest, highest = int(values.min()), int(values.max())
    count = len(names) if names is not None else MAX_CLASSES
    if lowest < 0 or highest >= count:
        wrong = lowest if lowest < 0 else highest
        raise InputError(f"{where}: label {wrong} is out of range; labels are 0 to {count - 1}")
    numbered = names if names is not None else [str(label) for label in range(highest + 1)]
    return class_names(numbered, where=where), values.astype(np.int64)


def group_names(values: Sequence[object]) -> tuple[str | None, ...]:
    """Return the names of groups, numbers as text; None where there is none.

    Raises InputError for a name that is longer than MAX_GROUP.
    """
    names = tuple(None if value is None or value == "" else str(value) for value in values)
    longest = max((len(name) for name in names if name is not None), default=0)
    if longest > MAX_GROUP:
        raise InputError(
            f"a group's name has {longest:,} characters; at most {MAX_GROUP:,} are read"
        )
    return names


def to_bytes(images: NDArray[np.generic], *, where: str) -> NDArray[np.uint8]:
    """Return (n, h, w, 1 or 3) bytes of (n, h, w), (n, h, w, c) or (n, c, h, w), c in 1, 3, 4.

    Integers lie within 0..255; floats within 0..1 and are multiplied by 255 and rounded; the fourth
    channel is alpha, composited over white. Raises InputError for anything else.
    """
    pixels = _channels_last(_scale(images, where), where)
    if pixels.shape[3] != 4:
        return np.ascontiguousarray(pixels)
    return np.stack([to_pixels(Image.fromarray(np.ascontiguousarray(image))) for image in pixels])


def _scale(images: NDArray[np.generic], where: str) -> NDArray[np.uint8]:
    if images.dtype == np.uint8:
        return images.view(np.uint8)
    if images.dtype.kind not in "biuf":
        raise InputError(f"{where}: pixels are {images.dtype}; bytes are wanted")
    numbers = images.astype(np.float64)
    highest = 1.0 if images.dtype.kind in "bf" else 255.0
    # Not `any outside`: NaN is neither inside nor outside.
    if not np.all((numbers >= 0) & (numbers <= highest)):
        wrong = numbers[~((numbers >= 0) & (numbers <= highest))][0]
        raise InputError(
            f"{where}: a pixel of {images.dtype} is {wrong:g}; they must lie within "
            f"0 to {highest:g}"
        )
    return np.rint(numbers * (255.0 / highest)).astype(np.uint8)


def _channels_last(pixels: NDArray[np.uint8], where: str) -> NDArray[np.uint8]:
    if pixels.ndim == 3:
        return pixels[:, :, :, None]
    if pixels.ndim == 4 and pixels.shape[3] in _CHANNELS:
        return pixels
    if pixels.ndim == 4 and pixels.shape[1] in _CHANNELS:
        return pixels.transpose(0, 2, 3, 1)
    raise InputError(
        f"{where}: images are {pixels.shape[1:]}; (h, w), (h, w, c) or (c, h, w) with 1, 3 or 4 "
        "channels are wanted"
    )
