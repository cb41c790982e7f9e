"""An attribution map laid over its image."""

import numpy as np
import numpy.typing as npt

from models.evaluation.report.pictures import Picture, picture_of

FOR, AGAINST = (214, 40, 40), (31, 98, 189)
"""Red and blue, which colour-blind readers tell apart."""
_STRONGEST = 0.85
"""Opacity of the strongest pixel: the image shows through."""
_OUTLIERS = 99.0
"""Percentile of the strengths that counts as strongest: one pixel alone left the rest pale."""


def heatmap(image: npt.NDArray[np.uint8], values: npt.NDArray[np.floating]) -> Picture:
    """Show a map (height, width) on its image (channels, height, width) in grey.

    Red speaks for the answer, blue against it; each map has a scale of its own.
    """
    return picture_of(overlay(image, values))


def overlay(
    image: npt.NDArray[np.uint8], values: npt.NDArray[np.floating]
) -> npt.NDArray[np.uint8]:
    """Return the pixels of `heatmap`, (3, height, width)."""
    grey = image.astype(np.float64).mean(axis=0) * 0.7 + 255 * 0.15
    strength = np.abs(values.astype(np.float64))
    scale = np.percentile(strength, _OUTLIERS) or strength.max()
    share = np.clip(strength / scale, 0, 1) * _STRONGEST if scale > 0 else np.zeros_like(grey)
    colours = np.where(values[None] >= 0, _column(FOR), _column(AGAINST))
    mixed = grey[None] * (1 - share) + colours * share
    pixels: npt.NDArray[np.uint8] = np.rint(mixed).astype(np.uint8)
    return pixels


def _column(colour: tuple[int, int, int]) -> npt.NDArray[np.float64]:
    return np.array(colour, np.float64).reshape(3, 1, 1)
