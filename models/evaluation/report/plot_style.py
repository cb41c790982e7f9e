"""Style of all figures: colours, axes, short names, PNG bytes."""

import io
import warnings

from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

BLUE, ORANGE, RED, GREY, INK = "#2f6db3", "#e07b1a", "#c8443c", "#8b95a1", "#26313d"
DPI = 150


def new_figure(width: float, height: float) -> Figure:
    """Empty figure of width x height inches, without global state."""
    figure = Figure(figsize=(width, height), dpi=DPI, layout="constrained", facecolor="white")
    FigureCanvasAgg(figure)
    return figure


def png_bytes(figure: Figure) -> bytes:
    """Render as PNG; the same figure gives the same bytes."""
    buffer = io.BytesIO()
    with warnings.catch_warnings():
        # Class names may be in any script; the font shows a box for what it lacks.
        warnings.filterwarnings("ignore", message="Glyph .* missing from font")
        figure.savefig(buffer, format="png", metadata={"Software": None})
    return buffer.getvalue()


def plain(axes: Axes, *, x: str, y: str, title: str = "") -> None:
    """Label the axes, and remove every line that carries no information."""
    axes.set_xlabel(x, color=INK, fontsize=9)
    axes.set_ylabel(y, color=INK, fontsize=9)
    if title:
        axes.set_title(title, loc="left", color=INK, fontsize=10, fontweight="bold")
    axes.spines[["top", "right"]].set_visible(False)
    axes.spines[["left", "bottom"]].set_color(GREY)
    axes.tick_params(colors=INK, labelsize=8, length=3)
    axes.grid(visible=True, color="#e6e9ed", linewidth=0.8)
    axes.set_axisbelow(True)


def class_ticks(axes: Axes, names: list[str], *, size: float = 8) -> None:
    """Write class names down the left side, without mathtext: a $ in a name is a $."""
    axes.set_yticks(range(len(names)))
    axes.set_yticklabels([short(name) for name in names], fontsize=size, parse_math=False)


def short(name: str, most: int = 18) -> str:
    """Shorten a long name in its middle, since similar names often differ at their ends."""
    if len(name) <= most:
        return name
    head = most // 2
    return f"{name[:head]}…{name[len(name) - (most - head - 1) :]}"
