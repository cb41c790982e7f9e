"""What CSV files are written by, so that a spreadsheet shows what is in them and runs nothing."""

_FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n", "＝", "＋", "－", "＠")  # noqa: RUF001 - full width
"""Beginnings of a cell that spreadsheets take for a formula."""


def as_text(cell: str) -> str:
    """Keep spreadsheets from running a text as a formula (owasp.org, CSV Injection).

    A single quote before the first character makes it a text; the writer quotes separators.
    """
    return f"'{cell}" if cell.startswith(_FORMULA) else cell
