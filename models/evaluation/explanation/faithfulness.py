"""Does an answer rest on the pixels that a map marks? Deletion and insertion, as areas.

RISE (Petsiuk et al., 2018): pixels are taken away in the order of the map, and the probability of
the answer is followed; where the map is right it falls at once. Taken away means: given the mean
colour of train. The other way round they are given back to a blurred image.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import ndimage

Floats = npt.NDArray[np.float64]
Pixels = npt.NDArray[np.float32]
Order = npt.NDArray[np.int64]
Ask = Callable[[Pixels], npt.NDArray[np.float32]]
"""Images (n, channels, height, width), 0 to 255 -> probability of one class, (n,)."""

STEPS = 28
"""Equal portions of the pixels, one after the other."""
BLUR = 8
"""Standard deviations of the blur in a side: of a shape that fills the image a spot is left."""


@dataclass(frozen=True, slots=True)
class Areas:
    """Areas below the two curves of one image, 0 to 1."""

    deletion: float
    insertion: float


def ranked(values: npt.NDArray[np.floating], generator: np.random.Generator) -> Order:
    """Order the pixels of a map (height, width) by value, highest first: flat places, (h * w,).

    Equal ones, as the many zeros of Grad-CAM, are in random order: else the upper left came first.
    """
    flat = np.asarray(values, np.float64).ravel()
    return np.lexsort((generator.random(len(flat)), -flat))


def replaced(image: Pixels, by: Pixels, order: Order) -> Pixels:
    """Return STEPS + 1 images, (STEPS + 1, channels, height, width).

    Of image, by: (channels, height, width): each next one has a further STEPS-th of the pixels, in
    the order given, from `by`; the first one has none, the last one all.
    """
    channels, height, width = image.shape
    place = np.empty(len(order), np.int64)
    place[order] = np.arange(len(order))
    taken = np.arange(STEPS + 1)[:, None] * len(order) > place[None] * STEPS
    mask = taken.reshape(STEPS + 1, 1, height, width)
    return np.where(mask, by[None], image[None]).reshape(-1, channels, height, width)


def area(probabilities: npt.ArrayLike) -> float:
    """Area below a curve over equal steps from 0 to 1, by trapezoids."""
    curve = np.asarray(probabilities, np.float64)
    return float((curve[0] / 2 + curve[1:-1].sum() + curve[-1] / 2) / (len(curve) - 1))


def measure(image: Pixels, colour: Pixels, order: Order, ask: Ask) -> Areas:
    """Measure both areas of an image; both images (channels, height, width), 0 to 255."""
    sides = image.shape[1:]
    blurred = ndimage.gaussian_filter(image, (0, *(side / BLUR for side in sides)))
    return Areas(
        deletion=area(ask(replaced(image, colour, order))),
        insertion=area(ask(replaced(blurred.astype(np.float32), image, order))),
    )
