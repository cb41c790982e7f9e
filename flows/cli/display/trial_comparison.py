"""`pitchpipe trials compare A B`: differing inputs, scores and curves of two trials."""

import re
from collections.abc import Iterator

from pydantic import JsonValue
from rich.console import Console

from flows.cli.display.sparklines import curve_line
from flows.cli.display.tables import Column, fitted_table
from flows.cli.display.trials import CURVES, TrialRow, find_row
from models.errors import ConfigError
from models.record import leaves

_DIGEST = re.compile("[0-9a-f]{64}")
_LONG = 16
"""Most characters of a cell on one line: two such columns fit beside any axis name."""


def pair_of(first: str, second: str) -> tuple[TrialRow, TrialRow]:
    """The two trials whose keys begin so. Raises ConfigError for none, several, or the same."""
    one, other = find_row(first), find_row(second)
    if one.trial.key == other.trial.key:
        raise ConfigError(
            f"{first!r} and {second!r} are the same trial, {one.trial.key[:12]}; name two"
        )
    return one, other


def comparison(one: TrialRow, other: TrialRow) -> dict[str, JsonValue]:
    """As `--json` prints it; differences: dotted path -> both values, null where there is none."""
    return {
        "trials": [row.document(history=True) for row in (one, other)],
        "differences": {name: list(pair) for name, pair in _differences(one, other)},
        "scores": {
            name: {"values": [before, after], "difference": after - before}
            for name, before, after in _scores(one, other)
        },
    }


def _differences(
    one: TrialRow, other: TrialRow
) -> Iterator[tuple[str, tuple[JsonValue, JsonValue]]]:
    """Inputs of training in which the two differ: path and both values."""
    specs = leaves(one.trial.spec), leaves(other.trial.spec)
    for path in dict.fromkeys((*specs[0], *specs[1])):
        pair = specs[0].get(path), specs[1].get(path)
        if pair[0] != pair[1]:
            yield path.removeprefix("config."), pair


def _scores(one: TrialRow, other: TrialRow) -> Iterator[tuple[str, float, float]]:
    if one.scores and other.scores:
        after = other.scores.model_dump()
        for name, value in one.scores.model_dump().items():
            yield name, value, after[name]


def print_comparison(one: TrialRow, other: TrialRow) -> None:
    """Print both trials side by side, then their curves, each pair on one scale."""
    console = Console(markup=False, highlight=False)
    cells = list(_cells(one, other))
    heads = ("", one.trial.key[:8], other.trial.key[:8], "difference")
    long = any(len(cell) > _LONG for row in cells for cell in row[1:3])
    columns = [
        Column(head, [row[place] for row in cells], wraps=long and place in (1, 2))
        for place, head in enumerate(heads)
    ]
    console.print(fitted_table(columns, width=console.width))
    for title, name in CURVES.items():
        curves = one.curve(name), other.curve(name)
        if all(curves):
            console.print(f"\n{title}")
            for row, values in zip((one, other), curves, strict=True):
                among = [*curves[0], *curves[1]]
                console.print(curve_line(console, row.trial.key[:8], values, among=among))


def _cells(one: TrialRow, other: TrialRow) -> Iterator[tuple[str, str, str, str]]:
    for name, (here, there) in _differences(one, other):
        yield name, _format(here), _format(there), ""
    yield "state", one.trial.state, other.trial.state, ""
    yield "from", one.origin, other.origin, ""
    for name, before, after in _scores(one, other):
        yield name.replace("_", " "), f"{before:.4f}", f"{after:.4f}", f"{after - before:+.4f}"
    epochs = [len(row.trial.history) for row in (one, other)]
    yield "epochs", str(epochs[0]), str(epochs[1]), f"{epochs[1] - epochs[0]:+d}"
    seconds = [row.seconds for row in (one, other)]
    yield "seconds", f"{seconds[0]:.1f}", f"{seconds[1]:.1f}", f"{seconds[1] - seconds[0]:+.1f}"


def _format(value: JsonValue) -> str:
    """Format a value whole, a digest by its first digits."""
    text = "" if value is None else str(value)
    return text[:8] if _DIGEST.fullmatch(text) else text
