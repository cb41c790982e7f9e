"""Sample sheets: a PNG of prepared images of each class."""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from models.datasets.prepared import Manifest, Split, open_split, read_manifest
from models.files import replacing

_GAP = 2
_MAX_SIDE = 96
"""Larger images are reduced: 500 images of 512 pixels would be a sheet of 130 megapixels."""
_NAME_WIDTH = 120
_MAX_CLASSES = 50


def write_samples(prepared: Path, target: Path, *, per_class: int = 10) -> Path:
    """Write a PNG: a row for each class, its name and its first training images by id.

    At most 50 classes are shown. The same arrays give the same picture.
    """
    manifest = read_manifest(prepared)
    train = open_split(prepared, "train", verify=False)
    shown = manifest.classes[:_MAX_CLASSES]
    side = min(manifest.image_size, _MAX_SIDE) + _GAP
    height = max(side, 12)
    sheet = Image.new("RGB", (_NAME_WIDTH + per_class * side, len(shown) * height), "white")
    draw = ImageDraw.Draw(sheet)
    for label, name in enumerate(shown):
        draw.text((2, label * height), name[:18], fill="black")
        for column, image in enumerate(_first_of(train, label, per_class)):
            place = (_NAME_WIDTH + column * side, label * height)
            sheet.paste(_picture(image, manifest), place)
    with replacing(target) as temporary:
        sheet.save(temporary, format="PNG")
    return target


def _first_of(train: Split, label: int, count: int) -> list[NDArray[np.uint8]]:
    # Ids are hashes, so the first by id are a random sample.
    return [train.images[row] for row in np.flatnonzero(train.labels == label)[:count]]


def _picture(image: NDArray[np.uint8], manifest: Manifest) -> Image.Image:
    pixels = image.transpose(1, 2, 0)
    picture = Image.fromarray(
        np.ascontiguousarray(pixels[:, :, 0] if manifest.channels == 1 else pixels)
    )
    picture.thumbnail((_MAX_SIDE, _MAX_SIDE))
    return picture
