"""Figures of a search, as SVG: score against each hyperparameter, and all of them in parallel."""

import io
import math
from collections.abc import Sequence

import matplotlib as mpl
import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from models.evaluation.report.plot_style import BLUE, GREY, INK, ORANGE, new_figure, plain, short
from models.search.importance import Axis

MOST_AXES = 9
"""Drawn, the first; the table has all."""
COLUMNS, WIDTH = 3, 9.3
"""Slices beside each other; inches of both figures."""
_MOST_TICKS = 6

Floats = npt.NDArray[np.float64]


def slices_figure(axes: Sequence[Axis], scores: Floats, *, score: str) -> bytes:
    """Draw the score of each trial, (n,), against its value on each axis.

    Trials are best first; the first, which was selected, is orange.  score: its name.
    """
    shown = axes[:MOST_AXES]
    rows = math.ceil(len(shown) / COLUMNS)
    columns = math.ceil(len(shown) / rows)
    figure = new_figure(WIDTH, 2.5 * rows)
    drawn = figure.subplots(rows, columns, squeeze=False, sharey=True)
    for place, one in enumerate(drawn.flat):
        if place < len(shown):
            _slice(one, shown[place], scores, score if place % columns == 0 else "")
        else:
            one.set_axis_off()
    return svg_bytes(figure)


def parallel_figure(axes: Sequence[Axis], scores: Floats, *, score: str) -> bytes:
    """Draw each trial as a line through its values, and through its score at the right.

    Trials are best first: the first line is orange, and each next one paler.
    """
    shown = axes[:MOST_AXES]
    heights = np.stack([*(_heights(axis) for axis in shown), _scaled(scores)])  # (axes + 1, n)
    figure = new_figure(WIDTH, 3.6)
    drawn = figure.subplots()
    last = max(len(scores) - 1, 1)
    for at in reversed(range(len(scores))):
        drawn.plot(
            range(len(heights)),
            heights[:, at],
            color=BLUE if at else ORANGE,
            linewidth=1.0 if at else 2.2,
            alpha=0.8 - 0.65 * at / last if at else 1.0,
        )
    _label(drawn, shown, scores, score)
    return svg_bytes(figure)


def svg_bytes(figure: Figure) -> bytes:
    """Render as SVG, text as outlines; the same figure gives the same bytes."""
    buffer = io.BytesIO()
    with mpl.rc_context({"svg.hashsalt": "pitchpipe", "svg.fonttype": "path"}):
        figure.savefig(buffer, format="svg", metadata={"Date": None, "Creator": None})
    return buffer.getvalue()


def _slice(drawn: Axes, axis: Axis, scores: Floats, score: str) -> None:
    places = _places(axis)
    drawn.plot(places, scores, "o", color=BLUE, markersize=4, alpha=0.6)
    drawn.plot(places[0], scores[0], "o", color=ORANGE, markersize=6)
    plain(drawn, x="", y=score)
    drawn.set_title(short(axis.name, 30), fontsize=9, color=INK, parse_math=False)
    if axis.numbers is None:
        names = axis.names
        drawn.set_xticks(range(len(names)))
        drawn.set_xticklabels([short(one, 12) for one in names], fontsize=7, parse_math=False)
        drawn.set_xlim(-0.5, len(names) - 0.5)
        return
    if axis.logarithmic:
        drawn.set_xscale("log")
    if len(axis.names) <= _MOST_TICKS:
        written = dict(zip(places.tolist(), axis.texts, strict=True))
        drawn.set_xticks(list(written), [short(one, 12) for one in written.values()])
        drawn.minorticks_off()


def _label(drawn: Axes, axes: Sequence[Axis], scores: Floats, score: str) -> None:
    """Write names below the vertical axes, and values beside them."""
    drawn.set_xticks(range(len(axes) + 1))
    drawn.set_xticklabels(
        [*(short(axis.name, 16) for axis in axes), score], fontsize=8, color=INK, parse_math=False
    )
    drawn.set_yticks([])
    drawn.spines[["top", "right", "left", "bottom"]].set_visible(False)
    drawn.tick_params(length=0)
    drawn.set_xlim(-0.3, len(axes) + 0.5)
    ends = [(float(scores.min()), 0.0), (float(scores.max()), 1.0)]
    marks = [*(_marks(axis) for axis in axes), [(f"{value:.4f}", at) for value, at in ends]]
    for place, written in enumerate(marks):
        drawn.axvline(place, color=GREY, linewidth=0.8)
        for text, height in written:
            drawn.text(
                place + 0.04,
                height,
                short(text, 12),
                fontsize=7,
                color=INK,
                parse_math=False,
                va="center",
                bbox={"facecolor": "white", "alpha": 0.75, "edgecolor": "none", "pad": 0.6},
            )


def _marks(axis: Axis) -> list[tuple[str, float]]:
    """Values of an axis to be written, with their heights."""
    pairs = dict(zip(axis.texts, _heights(axis).tolist(), strict=True))
    ranked = sorted(pairs.items(), key=lambda pair: pair[1])
    if len(ranked) <= _MOST_TICKS:
        return ranked
    return [ranked[0], ranked[len(ranked) // 2], ranked[-1]] if axis.numbers is not None else []


def _places(axis: Axis) -> Floats:
    """Return the numbers of an axis, or the places of its names."""
    if axis.numbers is not None:
        return axis.numbers
    return np.array([float(axis.names.index(text)) for text in axis.texts])


def _heights(axis: Axis) -> Floats:
    places = _places(axis)
    return _scaled(np.log(places) if axis.logarithmic else places)


def _scaled(values: Floats) -> Floats:
    """Bring values between 0 and 1; equal ones to the middle."""
    spread = float(np.ptp(values))
    return (values - values.min()) / spread if spread else np.full(len(values), 0.5)
