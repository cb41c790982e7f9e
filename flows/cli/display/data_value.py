"""Output of `data worth` for people."""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console

from flows.cli.display.tables import Column, fitted_table
from models.errors import ConfigError
from models.evaluation.data_value.power_law import Estimate
from models.evaluation.data_value.records import CapacityCurve, ClassValue, DataValue

if TYPE_CHECKING:
    from flows.versions.data_value.planning import Cost

_FEWEST_FRACTIONS = 2


def parse_fractions(text: str) -> tuple[float, ...]:
    """Read `0.125,0.25,0.5`, ascending. Raises ConfigError where that is not what it says."""
    try:
        found = tuple(float(one) for one in text.split(","))
    except ValueError:
        found = ()
    ascending = all(a < b for a, b in zip((0.0, *found), (*found, 1.0), strict=True))
    if len(found) < _FEWEST_FRACTIONS or not ascending:
        raise ConfigError(
            f"--fractions {text}: must be at least {_FEWEST_FRACTIONS} numbers between 0 and 1, "
            "ascending, such as 0.125,0.25,0.5"
        )
    return found


def print_cost(cost: "Cost", *, to_stderr: bool = False) -> None:
    """Print what answering takes."""
    console = Console(file=sys.stderr if to_stderr else None, markup=False, highlight=False)
    console.print(cost.sentence)


def print_value(value: DataValue, page: Path) -> None:
    """Print sizes, classes, capacity, and the answers in words."""
    console = Console(markup=False, highlight=False)
    console.print(fitted_table(_size_columns(value), width=console.width, title=value.subject))
    console.print()
    console.print(value.sentence)
    if value.check is not None:
        console.print(value.check.sentence)
    if value.classes:
        title = "gain in recall of a class, its images alone or all in proportion"
        columns = _class_columns(value.classes)
        console.print()
        console.print(fitted_table(columns, width=console.width, title=title))
    for one in value.classes:
        if one.alone:
            console.print(one.sentence)
    if value.capacity is not None:
        columns = _network_columns(value.capacity)
        console.print()
        console.print(fitted_table(columns, width=console.width, title="width of the network"))
        console.print(value.capacity.text)
    console.print(f"\npage: {page}")


def _size_columns(value: DataValue) -> list[Column]:
    points = value.points
    return [
        Column("train\nimages", [f"{one.images:,.0f}" for one in points]),
        Column("fraction", [f"{one.fraction:g}" for one in points]),
        Column("trials", [str(len(one.errors)) for one in points], spare=1),
        Column("validation\nerror", [_percent(_mean(one.errors)) for one in points]),
        Column("of each", [" ".join(map(_percent, one.errors)) for one in points], spare=2),
    ]


def _class_columns(classes: Sequence[ClassValue]) -> list[Column]:
    return [
        Column("class", [one.name for one in classes]),
        Column("grows", ["alone" if one.alone else "with all" for one in classes], spare=1),
        Column("train", [f"{one.images:,}" for one in classes], spare=2),
        Column("recall", [_percent(1 - one.curve.errors[-1]) for one in classes], spare=3),
        Column("more", [f"+{one.more:,}" for one in classes]),
        Column("gain,\npoints", [_points(one.gain) for one in classes]),
        Column("95 %", [_span(one.gain) for one in classes]),
    ]


def _network_columns(capacity: CapacityCurve) -> list[Column]:
    networks = capacity.networks
    return [
        Column("width", [f"{one.factor:g}" for one in networks]),
        Column("parameters", [f"{one.parameters:,}" for one in networks]),
        Column("train\nerror", [_percent(_mean(one.train_errors)) for one in networks]),
        Column("validation\nerror", [_percent(_mean(one.validation_errors)) for one in networks]),
    ]


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)


def _percent(share: float) -> str:
    return f"{100 * share:.2f} %"


def _points(one: Estimate) -> str:
    return f"{100 * one.value:+.1f}"


def _span(one: Estimate) -> str:
    return f"{100 * one.interval.low:+.1f} to {100 * one.interval.high:+.1f}"
