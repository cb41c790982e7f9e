"""Numbers as a line of bars; in ASCII where the terminal's encoding has no bars."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from rich.console import Console

_BARS, _ASCII_BARS = "▁▂▃▄▅▆▇█", "_.-:=+*#"
MOST = 40
"""Bars of a curve: 80 columns less its title and two numbers."""


@dataclass(frozen=True, slots=True)
class Scale:
    """What the lowest and the highest bar stand for; both finite."""

    low: float
    high: float

    @classmethod
    def of(cls, values: Sequence[float]) -> "Scale":
        """The range of the finite numbers; 0 to 0 where there is none."""
        finite = [value for value in values if math.isfinite(value)] or [0.0]
        return cls(min(finite), max(finite))

    def place(self, value: float) -> float:
        """Share of the way from low to high, from 0 to 1; in the middle where they are one."""
        span = self.high / 2 - self.low / 2  # halves: the range of two floats may be no float
        share = (value / 2 - self.low / 2) / span if span > 0 else 3 / 7
        return min(max(share, 0.0), 1.0)


def sparkline(values: Sequence[float], scale: Scale, *, ascii_only: bool = False) -> str:
    """Draw a number as one of eight bars: beyond the scale the nearest, NaN and infinity a blank.

    ascii_only: by characters that every encoding has.
    """
    bars = _ASCII_BARS if ascii_only else _BARS
    return "".join(
        bars[round(7 * scale.place(value))] if math.isfinite(value) else " " for value in values
    )


def thin(values: Sequence[float], most: int = MOST) -> list[float]:
    """At most so many of the numbers (two or more), evenly spaced, first and last among them."""
    if len(values) <= most:
        return list(values)
    return [values[round(place * (len(values) - 1) / (most - 1))] for place in range(most)]


def curve_line(
    console: Console, title: str, values: Sequence[float], *, among: Sequence[float] = ()
) -> str:
    """One curve on one line of a terminal, on the scale of all numbers it is shown among."""
    most = max(2, MOST + console.width - 80)
    drawn = sparkline(
        thin(values, most), Scale.of((*values, *among)), ascii_only=console.options.ascii_only
    )
    return f"{title:>20} {drawn} {values[0]:.4f} -> {values[-1]:.4f}"
