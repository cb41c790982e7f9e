"""Figure of the most confident mistakes, among which wrong labels show."""

import math
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from models.evaluation.outcomes import Integers, Outcomes
from models.evaluation.report.plot_style import INK, RED, new_figure, png_bytes, short

COLUMNS = 8
INCHES = 1.3
"""Width of one image with its margin."""
CAPTION = 0.5
"""Height of the caption's two lines, as a share of the image's width."""

Images = npt.NDArray[np.uint8]


def confident_mistakes(outcomes: Outcomes, most: int) -> Integers:
    """Indices of the wrong images, most confident first; of equal ones the first."""
    wrong = np.flatnonzero(~outcomes.right)
    return wrong[np.argsort(-outcomes.confidence[wrong], kind="stable")[:most]]


def mistakes_figure(
    images: Images, outcomes: Outcomes, *, classes: Sequence[str], most: int
) -> bytes:
    """Draw the most confident mistakes as PNG: image, predicted class, confidence, true class.

    images: (n, C, H, W) uint8 with C 1 or 3. Without a mistake, the figure says so.
    """
    chosen = confident_mistakes(outcomes, most)
    if len(chosen) == 0:
        return _nothing_wrong(len(outcomes.labels))
    rows = math.ceil(len(chosen) / COLUMNS)
    figure = new_figure(COLUMNS * INCHES, rows * INCHES * (1 + CAPTION))
    axes = figure.subplots()
    axes.set_axis_off()
    axes.set(xlim=(0, COLUMNS), ylim=(rows * (1 + CAPTION), 0))
    for place, index in enumerate(chosen):
        row, x = divmod(place, COLUMNS)
        y = row * (1 + CAPTION)
        extent = (x + 0.05, x + 0.95, y + 0.95, y + 0.05)
        picture = _picture(images[index])
        axes.imshow(picture, extent=extent, interpolation="nearest", aspect="auto")
        predicted, true = (classes[label[index]] for label in (outcomes.predicted, outcomes.labels))
        lines = (
            f"{short(predicted, 11)} ({100 * outcomes.confidence[index]:.0f} %)",
            f"is {short(true, 15)}",
        )
        for line, text, colour in zip((1.08, 1.26), lines, (RED, INK), strict=True):
            axes.text(
                x + 0.5, y + line, text, color=colour, ha="center", fontsize=8, parse_math=False
            )
    return png_bytes(figure)


def _picture(image: Images) -> Images:
    """(C, H, W) as (H, W, 3); grey values go into all three colours."""
    return np.broadcast_to(image, (3, *image.shape[1:])).transpose(1, 2, 0)


def _nothing_wrong(images: int) -> bytes:
    figure = new_figure(COLUMNS * INCHES, 0.8)
    figure.text(0.5, 0.5, f"No mistakes (n = {images:,})", ha="center", va="center", color=INK)
    return png_bytes(figure)
