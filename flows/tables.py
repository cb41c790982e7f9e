"""Tables of trials for a terminal of 80 columns: narrow headings, numbers never cut."""

from collections.abc import Sequence

from rich.table import Table

from models.trials import Scores

SCORE_HEADINGS = ("accuracy", "macro\nF1", "cross-\nentropy")


def trial_table(headings: Sequence[str], *, title: str | None = None) -> Table:
    """Make an empty table; underscores and dots of axis names become line breaks."""
    # No box: its separators cost a column each, and eleven columns must fit into 80.
    table = Table(title=title, title_justify="left", box=None, padding=(0, 1, 0, 0))
    for heading in headings:
        narrow = heading.replace("_", "\n").replace(".", "\n")
        table.add_column(narrow, justify="right", no_wrap=True)
    return table


def score_cells(scores: Scores | None) -> tuple[str, str, str]:
    """Cells under SCORE_HEADINGS; empty where there are no scores yet."""
    if scores is None:
        return ("", "", "")
    return (f"{scores.accuracy:.4f}", f"{scores.f1_macro:.4f}", f"{scores.cross_entropy:.4f}")
