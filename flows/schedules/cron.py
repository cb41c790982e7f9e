"""Cron lines as Prefect's croniter reads them, known without Prefect and its two seconds of import.

Prefect 3.8 carries croniter, and only that decides when a schedule runs. cronsim finds the times;
it takes other lines (5L for the last Friday) and reads some otherwise (`*/2` days beside a
weekday: both, where croniter means either). So each field is spelt out before, value by value.
"""

import contextlib
import re
from datetime import datetime
from functools import cache
from zoneinfo import ZoneInfo, available_timezones

from cronsim import CronSim, CronSimError

_SPANS = ((0, 59), (0, 23), (1, 31), (1, 12), (0, 6))
_DAY, _MONTH, _WEEKDAY = 2, 3, 4
_NAMES = {
    _MONTH: ["JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC"],
    _WEEKDAY: ["SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT"],
}
_ITEM = re.compile(r"(?:\*|(?P<first>[A-Z0-9]+)(?:-(?P<last>[A-Z0-9]+))?)(?:/(?P<step>[0-9]+))?")
_COUNTED = re.compile(r"([A-Z0-9]+#[1-5],)*[A-Z0-9]+#[1-5]")
"""MON#2: the second Monday."""
_NOT_A_PLACE = {"localtime", "Factory"}
"""Of the zone database, but unknown to the pytz that Prefect's server computes with."""


@cache
def zone_of(name: str) -> ZoneInfo:
    """Return a time zone that Prefect knows too; ValueError where there is none of this name."""
    if name in available_timezones() - _NOT_A_PLACE:
        return ZoneInfo(name)
    raise ValueError(f"timezone {name!r}: not a time zone; write one such as Europe/Berlin or UTC")


def next_of_cron(line: str, after: datetime) -> datetime:
    """Return the first time later than another, in its zone, that a cron line names.

    In the nights when clocks change Prefect may run it up to an hour off (docs/schedules.md).
    Raises ValueError where the line is none, or names no time of the next fifty years.
    """
    with contextlib.suppress(CronSimError, StopIteration, ValueError):
        return next(CronSim(_spelt_out(line.split()), after))
    raise ValueError(
        f"cron {line!r}: not a cron line that ever comes; write minute, hour, day, month, "
        'weekday, such as "0 3 * * *"'
    )


def _spelt_out(given: list[str]) -> str:
    """Write a line with a star or single values in each field; ValueError where it is none."""
    fields = [field.upper() for field in given if field.isascii()]  # the capital of a long s is S
    if len(fields) != len(given) or len(fields) != len(_SPANS):
        raise ValueError("minute, hour, day, month, weekday")
    counted = _COUNTED.fullmatch(fields[_WEEKDAY])
    if counted and fields[_DAY] != "*":
        raise ValueError("croniter passes over the day of the month beside MON#2")
    plain = [_spelt(fields, place) for place in range(_WEEKDAY)]
    return " ".join([*plain, fields[_WEEKDAY] if counted else _spelt(fields, _WEEKDAY)])


def _spelt(fields: list[str], place: int) -> str:
    if fields[place] == "*":
        return "*"
    values = {value for item in fields[place].split(",") for value in _values(item, place)}
    low, high = _SPANS[place]
    # To croniter every day is a star, if there is one in the other field of days, else a list.
    other = {_DAY: fields[_WEEKDAY], _WEEKDAY: fields[_DAY]}.get(place, "*")
    if len(values) > high - low and "*" in other:
        return "*"
    return ",".join(sorted(values))


def _values(item: str, place: int) -> set[str]:
    """Return what one item of a field stands for; ValueError where croniter says otherwise."""
    if item == "L" and place == _DAY:
        return {item}
    parts = _ITEM.fullmatch(item)
    if parts is None or item == "*":  # in a list, a star is all of it
        raise ValueError(item)
    low, high = _SPANS[place]
    if parts["first"] is None:
        first, last = low, high
    else:
        first = _number(parts["first"], place) % (7 if place == _WEEKDAY else 60)
        last = _number(parts["last"], place) if parts["last"] else high if parts["step"] else first
        # 3-3 is the whole circle to croniter, and so is 59/5.
        if last < first or (last == first and item != parts["first"]):
            raise ValueError(item)
    values = range(first, last + 1, int(parts["step"] or 1))
    return {str(value % 7 if place == _WEEKDAY else value) for value in values}


def _number(text: str, place: int) -> int:
    names = _NAMES.get(place, [])
    low, high = _SPANS[place]
    number = names.index(text) + low if text in names else int(text)
    if not low <= number <= (7 if place == _WEEKDAY else high):  # Sunday is 0 and 7
        raise ValueError(text)
    return number
