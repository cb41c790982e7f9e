"""Figure of a drift report: the distributions compared, reference beside batch."""

from collections.abc import Iterator, Mapping

import numpy as np
from matplotlib.axes import Axes

from models.evaluation.outcomes import Floats
from models.evaluation.report.plot_style import BLUE, GREY, RED, new_figure, plain, png_bytes, short
from models.monitoring.records import ClassShare, DriftReport, DriftTest
from models.monitoring.sample import Sample

_MOST_CLASSES = 12
_MOST_POINTS = 1000
_UNITS = {"brightness": "mean grey level", "contrast": "spread of grey levels"}


def drift_figure(reference: Sample, batch: Sample, report: DriftReport) -> bytes:
    """Draw five panels, one for each test, as PNG; titles of shifted tests are red.

    Beside them stands the accuracy that is expected.
    """
    figure = new_figure(11.0, 6.4)
    panels = figure.subplots(2, 3)
    tests: Mapping[str, DriftTest] = {test.name: test for test in report.tests}
    for axes, name in zip(panels.flat[:3], ("brightness", "contrast", "confidence"), strict=True):
        _histograms(axes, getattr(reference, name), getattr(batch, name))
        _set_title(axes, tests[name], x=_UNITS.get(name, name), y="density")
    _bars(panels[1, 0], report.classes)
    _set_title(panels[1, 0], tests["classes"], x="share predicted", y="")
    _scatter(panels[1, 1], reference.embeddings, batch.embeddings)
    _set_title(panels[1, 1], tests["embedding"], x="first component", y="second")
    panels[1, 2].set_axis_off()
    handles, labels = panels[0, 0].get_legend_handles_labels()
    panels[1, 2].legend(handles, labels, loc="upper left", frameon=False, fontsize=9)
    text = "\n".join(_accuracy_lines(report))
    panels[1, 2].text(0, 0.6, text, va="top", fontsize=9, parse_math=False)
    return png_bytes(figure)


def _accuracy_lines(report: DriftReport) -> Iterator[str]:
    if (expected := report.expected) is None:
        return
    yield "accuracy, estimated without labels"
    yield f"validation, with labels: {expected.reference:.3f}"
    for one in expected.estimates:
        yield f"{one.method}: {one.accuracy:.3f} [{one.interval.low:.3f}, {one.interval.high:.3f}]"


def _set_title(axes: Axes, test: DriftTest, *, x: str, y: str) -> None:
    plain(axes, x=x, y=y, title=f"{test.name}: p = {test.p_value:.2g}")
    if test.drifted:
        axes.set_title(axes.get_title(loc="left"), loc="left", color=RED, fontweight="bold")


def _histograms(axes: Axes, reference: Floats, batch: Floats) -> None:
    low, high = min(reference.min(), batch.min()), max(reference.max(), batch.max())
    bins = np.linspace(low, high if high > low else low + 1, 31).tolist()
    for values, colour, label in ((reference, GREY, "validation"), (batch, BLUE, "these images")):
        axes.hist(values, bins=bins, density=True, histtype="stepfilled", alpha=0.35, color=colour)
        axes.hist(values, bins=bins, density=True, histtype="step", color=colour, label=label)


def _bars(axes: Axes, classes: tuple[ClassShare, ...]) -> None:
    """Draw the classes whose share changed most, in their own order."""
    changed = sorted(range(len(classes)), key=lambda at: -abs(_change(classes[at])))
    shown = [classes[at] for at in sorted(changed[:_MOST_CLASSES])]
    places = np.arange(len(shown))
    axes.barh(places - 0.2, [one.reference for one in shown], height=0.38, color=GREY)
    axes.barh(places + 0.2, [one.batch for one in shown], height=0.38, color=BLUE)
    axes.set_yticks(places, [short(one.name, 14) for one in shown], parse_math=False)
    axes.invert_yaxis()


def _change(share: ClassShare) -> float:
    return share.batch - share.reference


def _scatter(axes: Axes, reference: Floats, batch: Floats) -> None:
    centre = reference.mean(axis=0)
    _, _, directions = np.linalg.svd(reference[:_MOST_POINTS] - centre, full_matrices=False)
    for values, colour in ((reference, GREY), (batch, BLUE)):
        points = (values[:_MOST_POINTS] - centre) @ directions[:2].T
        across = points[:, 1] if points.shape[1] > 1 else np.zeros(len(points))
        axes.plot(points[:, 0], across, ".", color=colour, markersize=2.5, alpha=0.6)
