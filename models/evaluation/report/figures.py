"""The report's figures, as PNG bytes."""

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import to_rgb
from matplotlib.ticker import MaxNLocator, PercentFormatter

from models.evaluation.calibration import reliability
from models.evaluation.confusion import ConfusionMatrix
from models.evaluation.outcomes import Floats, Integers, Outcomes
from models.evaluation.records import PointScores
from models.evaluation.report.plot_style import (
    BLUE,
    GREY,
    INK,
    ORANGE,
    RED,
    class_ticks,
    new_figure,
    plain,
    png_bytes,
    short,
)
from models.evaluation.uncertainty.intervals import wilson
from models.trials import EpochRecord

MOST_CLASSES = 20
"""Most classes that a figure shows; of more, the worst."""
ROOMY = 12
"""Most classes whose confusion matrix is legible at half the page's width."""


def confusion_figure(scores: PointScores) -> bytes:
    """True classes down, predicted ones across: counts, coloured by share of the true class."""
    matrix = scores.confusion
    chosen = _most_mistaken(matrix)
    names = [scores.per_class[index].name for index in chosen]
    shown = _between(matrix, chosen)
    support = np.array([scores.per_class[index].support for index in chosen])
    share = shown / np.maximum(support[:, None], 1)
    side = 4.6 if len(names) <= ROOMY else 8.6
    figure = new_figure(side + 0.4, side)
    axes = figure.subplots()
    axes.imshow(_coloured(share))
    _write_counts(axes, shown, share)
    plain(axes, x="predicted", y="true", title=_scope("Confusion", len(names), matrix.classes))
    axes.grid(visible=False)
    class_ticks(axes, names)
    axes.set_xticks(range(len(names)))
    angle = 45 if max(map(len, names)) > 3 else 0
    axes.set_xticklabels(
        [short(name) for name in names],
        rotation=angle,
        ha="right" if angle else "center",
        fontsize=8,
        parse_math=False,
    )
    return png_bytes(figure)


def per_class_figure(scores: PointScores) -> bytes:
    """F1 as a bar, precision and recall as marks, worst class on top."""
    ordered = sorted(scores.per_class, key=lambda one: (one.f1, one.name))[:MOST_CLASSES]
    places = np.arange(len(ordered))
    figure = new_figure(5.2, 1.4 + 0.3 * max(len(ordered), 4))
    axes = figure.subplots()
    axes.barh(places, [one.f1 for one in ordered], height=0.6, color="#c9dcf0", label="F1")
    for values, mark, colour, label in (
        ([one.recall for one in ordered], "o", BLUE, "recall"),
        ([one.precision for one in ordered], "|", ORANGE, "precision"),
    ):
        axes.plot(values, places, mark, color=colour, label=label, markersize=7, markeredgewidth=2)
    plain(axes, x="", y="", title=_scope("By class", len(ordered), len(scores.per_class)))
    class_ticks(axes, [one.name for one in ordered])
    axes.invert_yaxis()
    axes.set_xlim(0, 1.02)
    axes.xaxis.set_major_formatter(PercentFormatter(1))
    figure.legend(loc="outside lower center", ncols=3, frameon=False, fontsize=8)
    return png_bytes(figure)


def calibration_figure(outcomes: Outcomes, bins: int) -> bytes:
    """Reliability diagram: accuracy with its 95 % interval, and number of images, of each bin."""
    found = reliability(outcomes, bins)
    figure = new_figure(5.0, 4.8)
    upper, lower = figure.subplots(2, sharex=True, height_ratios=(3, 1))
    upper.plot([0, 1], [0, 1], "--", color=GREY, linewidth=1.2, label="perfectly calibrated")
    full = np.flatnonzero(found.images)
    right = np.rint(found.accuracy[full] * found.images[full]).astype(int)
    reach = np.array(
        [
            (share - interval.low, interval.high - share)
            for share, interval in (
                (float(found.accuracy[place]), wilson(int(count), int(found.images[place])))
                for place, count in zip(full, right, strict=True)
            )
        ]
    )
    upper.errorbar(
        found.confidence[full],
        found.accuracy[full],
        yerr=np.abs(reach.T),
        fmt="o-",
        color=BLUE,
        markersize=5,
        capsize=2.5,
        linewidth=1.2,
        label="this classifier",
    )
    plain(upper, x="", y="accuracy", title=f"Calibration error {found.ece:.3f}")
    upper.legend(frameon=False, fontsize=8, loc="best")
    upper.set(xlim=(0, 1.02), ylim=(0, 1.03))
    width = 1 / bins
    lower.bar(found.edges[:-1] + width / 2, found.images, width=0.9 * width, color="#c9dcf0")
    plain(lower, x="confidence", y="images")
    return png_bytes(figure)


def curves_figure(history: Sequence[EpochRecord], *, kept_epoch: int) -> bytes:
    """Loss and accuracy on training and validation images over the epochs."""
    figure = new_figure(10.4, 3.5)
    left, right = figure.subplots(1, 2)
    epochs = [record.epoch for record in history]
    mark = "o" if len(history) <= 30 else ""
    for axes, title, curves in (
        (left, "Loss, nats", ("train_loss", "validation_loss")),
        (right, "Accuracy", ("train_accuracy", "validation_accuracy")),
    ):
        for name, colour in zip(curves, (GREY, BLUE), strict=True):
            values = [getattr(record, name) for record in history]
            label = "training (during the epoch)" if colour == GREY else "validation"
            axes.plot(epochs, values, color=colour, marker=mark, markersize=4, label=label)
        if kept_epoch in epochs:
            axes.axvline(kept_epoch, color=ORANGE, linestyle=":", label=f"kept: epoch {kept_epoch}")
        plain(axes, x="epoch", y="", title=title)
        axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
    right.yaxis.set_major_formatter(PercentFormatter(1))
    handles, labels = left.get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=3, frameon=False, fontsize=8)
    return png_bytes(figure)


def _most_mistaken(matrix: ConfusionMatrix) -> Integers:
    """Classes with the most mistakes in their row and column, in their own order."""
    wrong = np.zeros(matrix.classes, dtype=np.int64)
    for true, predicted, images in matrix.cells:
        if true != predicted:
            wrong[[true, predicted]] += images
    return np.sort(np.argsort(-wrong, kind="stable")[:MOST_CLASSES])


def _between(matrix: ConfusionMatrix, chosen: Integers) -> Integers:
    """Rows and columns of the classes chosen."""
    place = {int(index): at for at, index in enumerate(chosen)}
    shown = np.zeros((len(chosen), len(chosen)), dtype=np.int64)
    for true, predicted, images in matrix.cells:
        if true in place and predicted in place:
            shown[place[true], place[predicted]] = images
    return shown


def _coloured(share: Floats) -> Floats:
    """RGB of each cell: blue for right, red for wrong; rare mistakes stay visible."""
    right = np.eye(len(share), dtype=bool)[..., None]
    strength = np.where(right, 0.75 * share[..., None], np.sqrt(share)[..., None])
    target: Floats = np.where(right, to_rgb(BLUE), to_rgb(RED))
    return 1 - strength * (1 - target)


def _write_counts(axes: Axes, counts: Integers, share: Floats) -> None:
    size = 8 if counts.max(initial=0) < 10_000 else 6
    for row, column in np.argwhere(counts):
        light = share[row, column] > (0.6 if row == column else 0.35)
        axes.text(
            column,
            row,
            f"{counts[row, column]}",
            ha="center",
            va="center",
            fontsize=size,
            color="white" if light else INK,
        )


def _scope(title: str, shown: int, classes: int) -> str:
    return title if shown == classes else f"{title}: the {shown} worst of {classes} classes"
