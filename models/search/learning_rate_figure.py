"""Figure of a learning rate range test: loss by rate, and the rate that it suggests."""

from models.evaluation.report.plot_style import BLUE, GREY, ORANGE, new_figure, plain, png_bytes
from models.search.learning_rate_range import RangeTest


def range_figure(test: RangeTest) -> bytes:
    """Draw the losses and the smoothed curve over the rates, as PNG.

    The vertical axis ends where the smoothed curve began: the loss of a rate too high is no news.
    """
    figure = new_figure(6.4, 4.0)
    axes = figure.subplots()
    axes.plot(test.rates, test.losses, ".", color=GREY, markersize=4, label="minibatch")
    axes.plot(test.rates, test.smoothed, color=BLUE, linewidth=1.6, label="smoothed")
    if test.suggested is not None:
        label = f"suggested: {test.suggested:.2g}"
        axes.axvline(test.suggested, color=ORANGE, linestyle=":", label=label)
    axes.set_xscale("log")
    lowest, highest = min(test.smoothed), max(test.smoothed[0], *test.losses[:5])
    room = 0.1 * (highest - lowest) or 0.1
    axes.set_ylim(lowest - room, highest + 3 * room)
    plain(axes, x="learning rate", y="training loss, nats", title="Learning rate range test")
    axes.legend(frameon=False, fontsize=8)
    return png_bytes(figure)
