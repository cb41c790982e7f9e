"""Curves as lines of bars: right by hand, whole at any width, readable in any terminal."""

import io
import math
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from flows.cli.display.sparklines import Scale, curve_line, sparkline, thin
from flows.cli.display.tables import Column, fitted_table
from flows.cli.main import replace_unwritable

UNIT = Scale(0.0, 1.0)
NUMBERS = st.floats(allow_nan=True, allow_infinity=True)


def console(encoding: str = "utf-8", width: int = 80, **options: bool) -> Console:
    """A terminal whose bytes are kept."""
    file = io.TextIOWrapper(io.BytesIO(), encoding=encoding)
    return Console(file=file, width=width, markup=False, highlight=False, **options)  # type: ignore[arg-type]


def written(one: Console) -> bytes:
    one.file.flush()
    buffer = one.file.buffer  # type: ignore[attr-defined]
    return bytes(buffer.getvalue())


def test_bars_by_hand() -> None:
    """Eight bars for eight steps; on one scale; what is beyond it is the nearest bar."""
    steps = [place / 7 for place in range(8)]

    assert sparkline(steps, UNIT) == "▁▂▃▄▅▆▇█"
    assert sparkline(steps, UNIT, ascii_only=True) == "_.-:=+*#"
    assert sparkline([0.0, 0.5], Scale.of([0.0, 0.5, 1.0])) == "▁▅"
    assert sparkline([-3.0, 9.0], UNIT) == "▁█"
    assert sparkline([2.0, 2.0], Scale.of([2.0, 2.0])) == "▄▄"
    assert sparkline([0.0, math.nan, math.inf, 1.0], UNIT) == "▁  █"


@given(st.lists(NUMBERS, max_size=99))
def test_each_number_has_one_bar_and_a_greater_one_no_lower_bar(values: list[float]) -> None:
    """Whatever a trial diverged to: no number raises, and what is not finite is a blank."""
    drawn = sparkline(values, Scale.of(values), ascii_only=True)

    assert len(drawn) == len(values)
    bars = sorted(
        (value, "_.-:=+*#".index(bar))
        for value, bar in zip(values, drawn, strict=True)
        if math.isfinite(value)
    )
    assert [bar for _, bar in bars] == sorted(bar for _, bar in bars)
    assert drawn.count(" ") == len(values) - len(bars)


@given(st.lists(st.floats(-9, 9), min_size=1, max_size=500), st.integers(60, 200))
def test_curves_keep_within_the_terminal(values: list[float], width: int) -> None:
    """However many epochs: the first and the last are among those drawn."""
    most = 40 + width - 80
    drawn = thin(values, most)

    assert (drawn[0], drawn[-1]) == (values[0], values[-1])
    assert len(drawn) == min(len(values), most)
    assert len(curve_line(console(width=width), "validation accuracy", values)) <= width


def test_a_terminal_without_bars_has_them_in_ascii() -> None:
    """Latin-1, say: nothing is lost, and nothing raises."""
    latin, unicode = (
        curve_line(console(encoding), "loss", [0.0, 1.0]) for encoding in ("latin-1", "utf-8")
    )

    assert latin.split()[1:2] == ["_#"]
    assert unicode.split()[1:2] == ["▁█"]


def test_no_color_is_respected(monkeypatch: pytest.MonkeyPatch) -> None:
    """Colours where there is a terminal, none where NO_COLOR is set; the same words."""
    table = fitted_table([Column("state", ["failed"], styles=["red"])], width=80)
    shown = []
    for colours in (True, False):
        monkeypatch.setenv("TERM", "xterm-256color")
        monkeypatch.delenv("NO_COLOR", raising=False)
        if not colours:
            monkeypatch.setenv("NO_COLOR", "1")
        terminal = console(force_terminal=True)
        terminal.print(table)
        shown.append(written(terminal))

    assert [b"\x1b[31m" in one for one in shown] == [True, False]
    assert all(b"failed" in one for one in shown)


@pytest.mark.parametrize(("encoding", "expected"), [("ascii", b"k?se"), ("utf-8", "käse".encode())])
def test_what_an_encoding_lacks_is_a_question_mark(
    encoding: str, expected: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A class with an umlaut in a terminal of another country ends no command."""
    buffer = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(buffer, encoding=encoding))

    replace_unwritable()
    sys.stdout.write("käse")
    sys.stdout.flush()

    assert buffer.getvalue() == expected
