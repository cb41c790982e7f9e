"""The page of a label triage: images by rank, with the label they have and the one proposed."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from models.evaluation.report.pictures import Picture, picture_of
from models.evaluation.report.templates import render
from models.files import write_text
from models.monitoring.labels.records import LabelFault, Triage

PAGE = "triage.html"
MOST_SHOWN = 200
"""Images of a page, each of at most 128 pixels a side."""
_LINK = (
    f'<section id="triage"><h2>Labels</h2><p><a href="{PAGE}">Which labels are likely wrong</a>: '
    f"{PAGE}, beside this file, as <code>pitchpipe data triage</code> found them. Correct those "
    "of train before you add images.</p></section>\n"
)

Images = Mapping[str, npt.NDArray[np.uint8]]
"""Id -> image (channels, height, width)."""


@dataclass(frozen=True, slots=True)
class Suspect:
    """A fault as the page shows it."""

    fault: LabelFault
    picture: Picture


def write_page(path: Path, triage: Triage, images: Images) -> None:
    """Write the page; it shows the faults whose images are given, in their order."""
    suspects = [
        Suspect(fault, picture_of(np.asarray(images[fault.id])))
        for fault in triage.faults
        if fault.id in images
    ]
    noisy = {
        noise.evidence: sorted(
            (one for one in noise.classes if one.likely or one.rate),
            key=lambda one: (-one.rate, one.name),
        )
        for noise in triage.noise
    }
    write_text(path, render("triage.html.j2", triage=triage, suspects=suspects, noisy=noisy))


def link_page(report: Path) -> None:
    """Make a written report lead to the page beside it; a second time changes nothing."""
    text = report.read_text(encoding="utf-8")
    if f'href="{PAGE}"' not in text:
        write_text(report, text.replace("</main>", f"{_LINK}</main>", 1))
