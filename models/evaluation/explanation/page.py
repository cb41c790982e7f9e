"""The page of an explanation: the most surprising answers with their maps, and their worth."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from models.evaluation.explanation.attribution import Maps
from models.evaluation.explanation.heatmap import heatmap
from models.evaluation.explanation.records import SHOWN_AS, Explanation, Method, ShownImage
from models.evaluation.report.pictures import Picture, picture_of
from models.evaluation.report.templates import render
from models.files import write_text

PAGE, RECORD = "explanation.html", "explanation.json"


@dataclass(frozen=True, slots=True)
class ExplainedImage:
    """An image of the page with a map by each method."""

    about: ShownImage
    picture: Picture
    maps: Sequence[tuple[str, Picture]]
    """Name of the method, and the map over the image."""

    @property
    def hit(self) -> bool:
        """Whether the answer is right."""
        return self.about.true == self.about.predicted


def write_explanation(
    directory: Path,
    found: Explanation,
    images: npt.NDArray[np.uint8],
    maps: Mapping[Method, Sequence[Maps]],
) -> Path:
    """Write explanation.json and, last, explanation.html; return the page's path.

    images: those shown, (m, channels, height, width);  maps: method -> m maps (height, width).
    """
    write_text(directory / RECORD, found.model_dump_json(indent=2) + "\n")
    page = directory / PAGE
    write_text(page, render_explanation(found, images, maps))
    return page


def render_explanation(
    found: Explanation, images: npt.NDArray[np.uint8], maps: Mapping[Method, Sequence[Maps]]
) -> str:
    """Render the page, one file; arguments as above."""
    explained = [
        ExplainedImage(
            about=about,
            picture=picture_of(images[at]),
            maps=[(SHOWN_AS[method], heatmap(images[at], of[at])) for method, of in maps.items()],
        )
        for at, about in enumerate(found.shown)
    ]
    return render(
        "explanation.html.j2",
        found=found,
        groups=(
            ("misses", "Misses", [one for one in explained if not one.hit]),
            ("hits", "Hits", [one for one in explained if one.hit]),
        ),
        names=SHOWN_AS,
    )
