"""Tables that fit into 80 columns: narrow headings, optional columns, numbers never cut."""

from collections.abc import Sequence
from dataclasses import dataclass

from rich.cells import cell_len
from rich.table import Table
from rich.text import Text

from models.evaluation.records import FromBest
from models.trials import Scores

ALIKE = "~"
"""Mark of a trial that validation does not tell from the best one."""
SCORE_HEADINGS = ("accuracy", "macro\nF1", "cross-\nentropy")


@dataclass(frozen=True, slots=True)
class Column:
    """A column of a table, and how it gives way in a narrow terminal."""

    heading: str
    cells: Sequence[str]
    spare: int = 0
    """Order of leaving columns out where there is no room, greatest first; 0: never."""
    axis: bool = False
    """Merged with the other axes into one column of words where there still is no room."""
    wraps: bool = False
    """Cells may take several lines."""
    left: bool = False
    """Cells begin at the left, as curves of unequal length do; numbers end at the right."""
    styles: Sequence[str] = ()
    """rich's style of each cell, where the terminal has colours; empty: none has one."""

    @property
    def texts(self) -> list[Text]:
        """Cells with their styles."""
        styles = self.styles or ("",) * len(self.cells)
        return [Text(cell, style) for cell, style in zip(self.cells, styles, strict=True)]

    @property
    def width(self) -> int:
        """Characters that it needs."""
        longest = max(map(cell_len, (*_narrow(self.heading).split("\n"), *self.cells)))
        return min(longest, _WORDS) if self.wraps else longest


_WORDS = 30
"""Characters that a column of words needs at least."""


def fitted_table(columns: Sequence[Column], *, width: int, title: str | None = None) -> Table:
    """Make a table that fits into a terminal; columns left out are named under it."""
    kept = _leave_out(columns, width)
    if _too_wide(kept, width):
        kept = _leave_out(_merge_axes(columns), width)
    table = trial_table([column.heading for column in kept], title=title)
    for place, column in enumerate(kept):
        if column.wraps:
            table.columns[place].no_wrap, table.columns[place].justify = False, "left"
            table.columns[place].overflow = "fold"  # a long word is broken, and not cut
        if column.left:
            table.columns[place].justify = "left"
    for cells in zip(*(column.texts for column in kept), strict=True):
        table.add_row(*cells)
    left_out = [column.heading for column in columns if column.spare and column not in kept]
    if left_out:
        names = ", ".join(left_out).replace("-\n", "-").replace("\n", " ")
        table.caption = f"a wider terminal also shows: {names}"
    return table


def _leave_out(columns: Sequence[Column], width: int) -> list[Column]:
    """Leave columns out until the others fit, or none may be left out."""
    kept = list(columns)
    for column in sorted(columns, key=lambda column: -column.spare):
        if column.spare and _too_wide(kept, width):
            kept.remove(column)
    return kept


def _merge_axes(columns: Sequence[Column]) -> list[Column]:
    """Merge all axes into one column of words."""
    axes = [column for column in columns if column.axis]
    if not axes:
        return list(columns)
    rows = zip(*(column.cells for column in axes), strict=True)
    words = [
        " ".join(f"{axis.heading}={cell}" for axis, cell in zip(axes, row, strict=True) if cell)
        for row in rows
    ]
    place = columns.index(axes[0])
    others = [column for column in columns if not column.axis]
    return [*others[:place], Column("differs in", words, wraps=True), *others[place:]]


def _too_wide(columns: Sequence[Column], width: int) -> bool:
    return sum(column.width for column in columns) + len(columns) - 1 > width


def trial_table(headings: Sequence[str], *, title: str | None = None) -> Table:
    """Make an empty table; underscores and dots of axis names become line breaks."""
    # No box: its separators cost a column each, and eleven columns must fit into 80.
    table = Table(
        title=title,
        title_justify="left",
        title_style="bold",
        box=None,
        padding=(0, 1, 0, 0),
        pad_edge=False,
    )
    for heading in headings:
        table.add_column(_narrow(heading), justify="right", no_wrap=True)
    return table


def _narrow(heading: str) -> str:
    return heading.replace("_", "\n").replace(".", "\n")


def mark_of(from_best: FromBest | None) -> str:
    """ALIKE, or a blank of its width for a trial that is told apart, or was not tested."""
    return ALIKE if from_best is not None and not from_best.distinguishable else " "


def score_columns(scores: Sequence[Scores | None]) -> list[Column]:
    """Columns of scores; accuracy is never left out."""
    cells = zip(*map(score_cells, scores), strict=True) if scores else ((), (), ())
    return [
        Column(heading, tuple(column), spare=spare)
        for heading, column, spare in zip(SCORE_HEADINGS, cells, (0, 3, 4), strict=True)
    ]


def score_cells(scores: Scores | None) -> tuple[str, str, str]:
    """Cells under SCORE_HEADINGS; empty where there are no scores yet."""
    if scores is None:
        return ("", "", "")
    return (f"{scores.accuracy:.4f}", f"{scores.f1_macro:.4f}", f"{scores.cross_entropy:.4f}")
