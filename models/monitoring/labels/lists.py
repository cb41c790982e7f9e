"""The list of likely faults as people edit it, and as `data relabel` reads it."""

import json
from collections.abc import Sequence
from typing import Literal

from models.datasets.sources.label_lists import format_csv
from models.monitoring.labels.records import LabelFault

Filled = Literal["given", "proposed"]
"""What the column label holds at first. given: nothing changes until somebody edits it."""


def format_list(faults: Sequence[LabelFault], *, lines: bool, filled: Filled) -> str:
    """Format faults as CSV, or as JSON lines, with what a person decides by beside id and label.

    lines: whether as JSON lines.
    """
    rows = [_columns(fault, filled) for fault in faults]
    if lines:
        return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
    header = list(_columns(_NOBODY, filled))
    return format_csv(header, ([str(cell) for cell in row.values()] for row in rows))


def _columns(fault: LabelFault, filled: Filled) -> dict[str, str | int | float]:
    return {
        "rank": fault.rank,
        "likely": "yes" if fault.likely else "doubt",
        "id": fault.id,
        "label": fault.given if filled == "given" else fault.proposed,
        "given": fault.given,
        "proposed": fault.proposed,
        "split": fault.split,
        "given_probability": round(fault.given_probability, 4),
        "proposed_probability": round(fault.proposed_probability, 4),
    }


_NOBODY = LabelFault(
    rank=1,
    id="",
    split="train",
    given="",
    proposed="",
    given_probability=0.0,
    proposed_probability=0.0,
    margin=0.0,
    likely=True,
)
"""Whose columns are the header."""
