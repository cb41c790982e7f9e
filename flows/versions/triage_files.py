"""Files of a label triage: the record, the page with images, the list that people edit."""

import shutil
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from flows.datasets.files import PREPARED, TRIAGES
from flows.registry.listing import find_version
from flows.tracking.store import Tracking
from flows.versions.evaluate import names_trial
from flows.versions.reports import renew_copy, report_of
from models.config.data import SplitName
from models.datasets.prepared import open_split
from models.datasets.sources.paths import shown
from models.errors import InputError, PitchpipeError
from models.files import replacing, write_text
from models.monitoring.labels.lists import Filled, format_list
from models.monitoring.labels.page import MOST_SHOWN, PAGE, link_page, write_page
from models.monitoring.labels.records import LabelFault, Triage

RECORD = "triage.json"
LIST = "faults.csv"
_LINES = (".jsonl", ".ndjson")


@dataclass(frozen=True, slots=True)
class ListRequest:
    """The list that is asked for."""

    path: Path | None = None
    """CSV or JSON lines by its end; None: beside the page."""
    filled: Filled = "given"
    top: int | None = None
    """Lines, from the most suspicious; None: all likely faults."""

    def check(self) -> None:
        """Raise InputError for a path that is no list or is there already: it may be edited."""
        if self.path is None:
            return
        if self.path.suffix.lower() not in (".csv", *_LINES):
            raise InputError(
                f"--output {shown(self.path)}: is neither .csv nor .jsonl; choose one of them"
            )
        if self.path.exists():
            raise InputError(
                f"--output {shown(self.path)}: is there, and may hold somebody's corrections; "
                "name another file, or remove it"
            )


def write_triage(triage: Triage, tracking: Tracking, of: str, asked: ListRequest) -> Triage:
    """Write list, page and record; return the triage with their paths.

    A list beside the page that somebody edited is kept, and a new one is numbered. Where the
    version has a report here, the page is put beside it, and the report leads there, as does its
    copy in MLflow.
    """
    folder = TRIAGES / triage.dataset / triage.id
    folder.mkdir(parents=True, exist_ok=True)
    lines = asked.path is not None and asked.path.suffix.lower() in _LINES
    text = format_list(triage.faults[: asked.top], lines=lines, filled=asked.filled)
    target = _free_place(folder, text) if asked.path is None else asked.path
    write_text(target, text)
    paths = {"page": str(folder / PAGE), "list_file": str(target)}
    written = triage.model_copy(update=paths)
    write_page(folder / PAGE, written, images_of(triage.faults[:MOST_SHOWN]))
    write_text(folder / RECORD, written.model_dump_json(indent=1) + "\n")
    _link(tracking, of, folder / PAGE)
    return written


def images_of(faults: tuple[LabelFault, ...]) -> dict[str, NDArray[np.uint8]]:
    """Return the prepared image of each fault, (channels, height, width), by id."""
    found: dict[str, NDArray[np.uint8]] = {}
    wanted: dict[SplitName, set[str]] = {}
    for fault in faults:
        wanted.setdefault(fault.split, set()).add(fault.id)
    for name, ids in wanted.items():
        split = open_split(PREPARED, name, verify=False)
        for row, one in enumerate(split.ids):
            key = one.tobytes().hex()
            if key in ids:
                found[key] = np.array(split.images[row])
    return found


def _free_place(folder: Path, text: str) -> Path:
    """Return where the list is, or goes: not over one with other content."""
    number = 1
    while True:
        path = folder / (LIST if number == 1 else f"faults-{number}.csv")
        if not path.exists() or path.read_text(encoding="utf-8", errors="replace") == text:
            return path
        number += 1


def _link(tracking: Tracking, of: str, page: Path) -> None:
    try:
        report = report_of(tracking, of)
    except PitchpipeError:
        return  # there is none here
    with replacing(report.parent / PAGE) as temporary:
        shutil.copyfile(page, temporary)
    link_page(report)
    if not names_trial(tracking, of):
        renew_copy(tracking, find_version(tracking, of), report)
