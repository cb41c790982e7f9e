"""Figures of the value of data, as SVG: the curve with its band, classes, capacity."""

import io
import warnings
from collections.abc import Mapping, Sequence

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, FuncFormatter, LogLocator, NullFormatter

from models.evaluation.data_value.records import CapacityCurve, ClassValue, DataValue
from models.evaluation.report.plot_style import BLUE, GREY, ORANGE, class_ticks, new_figure, plain

MOST_CLASSES = 20
"""Most classes that the figure shows: those with the greatest expected gain."""
_STEPS = 24


def draw_value(value: DataValue) -> Mapping[str, bytes]:
    """Draw what there is: name without .svg -> SVG; the same value gives the same bytes."""
    figures = {"data_curve": curve_figure(value)}
    if value.classes:
        figures["data_classes"] = classes_figure(value.classes)
    if value.capacity is not None:
        figures["capacity_curve"] = capacity_figure(value.capacity)
    return figures


def curve_figure(value: DataValue) -> bytes:
    """Validation error by train images, both logarithmic: trials, best curve, 95 % band, now."""
    figure = new_figure(5.2, 3.6)
    axes = figure.subplots()
    last = value.train_images + min(value.more, value.train_images)
    images = np.geomspace(value.points[0].images, last, _STEPS)
    band = [value.curve.error(float(one)) for one in images]
    low, high = ([getattr(one.interval, end) for one in band] for end in ("low", "high"))
    least = min(error for point in value.points for error in point.errors if error > 0)
    floor = max(min(least, *(one for one in high)) / 4, 1e-5)
    axes.fill_between(images, np.maximum(low, floor), high, color=BLUE, alpha=0.18, label="95 %")
    axes.plot(images, [one.value for one in band], color=BLUE, label="a + b n^-c")
    for place, point in enumerate(value.points):
        axes.plot(
            [point.images] * len(point.errors),
            np.maximum(point.errors, floor),
            "o",
            color=ORANGE,
            markersize=4,
            label=None if place else "trials",
        )
    axes.axvline(value.train_images, color=GREY, linestyle=":", label="now")
    axes.set_xscale("log")
    axes.set_yscale("log")
    plain(axes, x="train images", y="validation error", title="Error by train images")
    _number(axes, [*(point.images for point in value.points), last])
    axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axes.yaxis.set_major_formatter(FuncFormatter(_percent))
    axes.yaxis.set_minor_formatter(NullFormatter())
    _legend(figure, axes)
    return svg_bytes(figure)


def classes_figure(classes: Sequence[ClassValue]) -> bytes:
    """Expected gain in recall of each class with its 95 % interval, the greatest on top."""
    shown = classes[:MOST_CLASSES]
    figure = new_figure(5.2, 1.3 + 0.28 * max(len(shown), 3))
    axes = figure.subplots()
    for place, one in enumerate(shown):
        colour = ORANGE if one.alone else BLUE
        ends = [100 * one.gain.interval.low, 100 * one.gain.interval.high]
        axes.plot(ends, [place, place], color=colour, linewidth=2)
        axes.plot([100 * one.gain.value], [place], "o", color=colour, markersize=5)
    axes.axvline(0, color=GREY, linewidth=0.8)
    plain(axes, x="gain in recall, points", y="", title="Expected gain by class")
    class_ticks(axes, [f"{one.name} alone" if one.alone else one.name for one in shown])
    axes.invert_yaxis()
    return svg_bytes(figure)


def capacity_figure(capacity: CapacityCurve) -> bytes:
    """Train and validation error by the parameters of the network."""
    figure = new_figure(5.2, 3.6)
    axes = figure.subplots()
    parameters = [one.parameters for one in capacity.networks]
    for field, colour, label in (
        ("validation_errors", BLUE, "validation"),
        ("train_errors", ORANGE, "train"),
    ):
        errors = [getattr(one, field) for one in capacity.networks]
        axes.plot(parameters, [np.mean(one) for one in errors], color=colour, label=label)
        for count, each in zip(parameters, errors, strict=True):
            axes.plot([count] * len(each), each, "o", color=colour, markersize=4)
    now = next(one.parameters for one in capacity.networks if one.factor == 1)
    axes.axvline(now, color=GREY, linestyle=":", label="as configured")
    axes.set_xscale("log")
    axes.set_ylim(bottom=0)
    plain(axes, x="parameters", y="error", title="Error by the width of the network")
    _number(axes, parameters)
    axes.yaxis.set_major_formatter(FuncFormatter(_percent))
    _legend(figure, axes)
    return svg_bytes(figure)


def svg_bytes(figure: Figure) -> bytes:
    """Render as SVG with its text as outlines, which no reader's fonts change."""
    buffer = io.BytesIO()
    with mpl.rc_context({"svg.hashsalt": "pitchpipe"}), warnings.catch_warnings():
        # Class names may be in any script; the font shows a box for what it lacks.
        warnings.filterwarnings("ignore", message="Glyph .* missing from font")
        figure.savefig(buffer, format="svg", metadata={"Date": None, "Creator": None})
    return buffer.getvalue()


def _number(axes: Axes, places: Sequence[float]) -> None:
    """Write numbers at the measured places of the horizontal axis, and at no others."""
    axes.xaxis.set_major_locator(FixedLocator(list(places)))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda one, _: f"{one:,.0f}"))
    axes.xaxis.set_minor_formatter(NullFormatter())
    axes.minorticks_off()


def _percent(error: float, _place: object) -> str:
    return f"{100 * error:.3g} %"


def _legend(figure: Figure, axes: Axes) -> None:
    handles, labels = axes.get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=4, frameon=False, fontsize=8)
