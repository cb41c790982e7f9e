"""Scores by slice, as a table for the terminal."""

from rich.console import Console
from rich.markup import escape

from flows.cli.display.tables import Column, fitted_table
from flows.versions.slices import VersionSlices

_MOST_ROWS = 30
_WORSE = "*"
"""Mark of a slice that is worse than the rest beyond chance."""


def print_slices(found: VersionSlices) -> None:
    """Print slices, the ones that are worse than the rest first; --json has all of them."""
    console, report = Console(highlight=False), found.report
    shown = report.slices[:_MOST_ROWS]
    console.print(
        escape(
            f"version {found.version} of {found.name}: accuracy {report.accuracy:.4f} on "
            f"{report.images:,} test images"
        )
    )
    if shown:
        between = [
            f"{100 * one.difference_interval.low:+.1f} to {100 * one.difference_interval.high:+.1f}"
            for one in shown
        ]
        intervals = [f"{one.interval.low:.3f} to {one.interval.high:.3f}" for one in shown]
        columns = (
            Column("slice", [escape(one.label) for one in shown], wraps=True),
            Column("", [_WORSE if one.distinct else "" for one in shown]),
            Column("images", [f"{one.images:,}" for one in shown]),
            Column("accuracy", [f"{one.accuracy:.4f}" for one in shown]),
            Column("95 %", intervals, spare=1),
            Column("against\nthe rest", [f"{100 * one.difference:+.1f}" for one in shown]),
            Column("95 %, points", between, spare=3),
            Column("p", [f"{one.p_value:.2g}" for one in shown], spare=2),
        )
        console.print(fitted_table(columns, width=console.width))
    more = len(report.slices) - len(shown)
    lines = [f"and {more} more: --json" if more else "", report.sentence, report.left_out]
    for line in filter(None, lines):
        console.print(escape(line))
    if report.distinct:
        console.print(f"{_WORSE} worse than the rest beyond chance")
