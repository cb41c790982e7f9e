"""The section on the value of data: in a report, new or old, and as a page of its own."""

import base64
import re
from collections.abc import Mapping
from pathlib import Path

from models.evaluation.data_value.figures import MOST_CLASSES
from models.evaluation.data_value.power_law import Estimate
from models.evaluation.data_value.records import DataValue
from models.evaluation.report.templates import render
from models.files import write_text

BEGIN, END = "<!-- value of data -->", "<!-- end of value of data -->"
"""Around the section in a report, which is there, empty, before anything was measured."""
_PLACE = re.compile(f"{BEGIN}.*?{END}", re.DOTALL)


def render_section(
    value: DataValue | None, figures: Mapping[str, bytes], *, dataset: str | None = None
) -> str:
    """Render the section between its marks; None: the marks alone.

    figures: name without .svg -> SVG.  dataset: digest of the arrays that the report is about.
    """
    if value is None:
        return BEGIN + END
    text = render(
        "data_value.html.j2",
        value=value,
        figures={name: svg_uri(content) for name, content in figures.items()},
        classes=value.classes[:MOST_CLASSES],
        trials=sum(len(point.errors) for point in value.points),
        points=_points,
        other_images=dataset not in (None, value.dataset_digest),
    )
    return BEGIN + text + END


def render_value_page(value: DataValue, figures: Mapping[str, bytes]) -> str:
    """Render the section as a page with no other file and no request."""
    title = f"{value.name}: value of data"
    return render("data_value_page.html.j2", title=title, section=render_section(value, figures))


def place_section(page: Path, value: DataValue, figures: Mapping[str, bytes]) -> bool:
    """Put the section into a written report, in place of an earlier one.

    Returns False, and writes nothing, where an earlier release wrote the report.
    """
    text, section = page.read_text(encoding="utf-8"), render_section(value, figures)
    placed, count = _PLACE.subn(lambda _: section, text)
    if count:
        write_text(page, placed)
    return count > 0


def svg_uri(content: bytes) -> str:
    """A data: address of an SVG picture, which as a picture runs no script."""
    return "data:image/svg+xml;base64," + base64.b64encode(content).decode()


def _points(one: Estimate) -> str:
    low, high = one.interval.low, one.interval.high
    value, low, high = (round(100 * each, 1) + 0.0 for each in (one.value, low, high))  # no -0.0
    return f"{value:+.1f} ({low:+.1f} to {high:+.1f})"
