"""Cron lines as Prefect reads them: by the croniter that it carries, without its 2 s of import.

Nothing else decides when a schedule runs, and nothing else reads all lines so: of croniter 7.0,
which is PyPI's, 216 in 15,102 lines drawn at random came at other times (`6/4` is Thursday and
Sunday to one, Saturday to the other), and it takes 29 that Prefect refuses.
"""

import contextlib
import re
from datetime import UTC, datetime
from functools import cache
from importlib.metadata import distribution
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType
from zoneinfo import ZoneInfo, available_timezones

_NOT_A_PLACE = {"localtime", "Factory"}
"""Of the zone database, but unknown to the pytz that Prefect's server computes with."""
_LAST = ("59", "23", "31", "12|DEC", "6|SAT")
"""The last value of each field: minute, hour, day, month, weekday."""


@cache
def zone_of(name: str) -> ZoneInfo:
    """Return a time zone that Prefect knows too; ValueError where there is none of this name."""
    if name in available_timezones() - _NOT_A_PLACE:
        return ZoneInfo(name)
    raise ValueError(f"timezone {name!r}: not a time zone; write one such as Europe/Berlin or UTC")


def next_of_cron(line: str, after: datetime) -> datetime:
    """Return the first time later than another, in its zone, at which Prefect runs a cron line.

    Raises ValueError where the line is none, or names no time of the next fifty years.
    """
    if not _is_misread(line):
        with contextlib.suppress(ValueError):  # each error of croniter is one
            calendar = _croniter().croniter(line, after.replace(tzinfo=None))
            ticks = (_on_the_clock(wall, after) for wall in calendar.all_next(datetime))
            return next(tick for tick in ticks if tick.astimezone(UTC) > after)
    raise ValueError(
        f"cron {line!r}: not a cron line that ever comes; write minute, hour, day, month, "
        'weekday, such as "0 3 * * *"'
    )


def _on_the_clock(wall: datetime, after: datetime) -> datetime:
    """Give a wall clock's time its zone: in nights when clocks change, the earlier of its readings.

    So does Prefect (under Python 3.11): the first of an hour that comes twice; of one that is
    skipped, as much before as it lies in it. Only where clocks change by other than an hour (Lord
    Howe, Troll) may a tick of such a night be missing here: they come out of order.
    """
    readings = (wall.replace(tzinfo=after.tzinfo, fold=fold) for fold in (0, 1))
    return min(reading.astimezone(UTC) for reading in readings).astimezone(after.tzinfo)


def _is_misread(line: str) -> bool:
    """Whether croniter would take a line and read it as nobody means it."""
    if line.startswith("@"):
        return False
    fields = line.split()
    if len(fields) != len(_LAST):
        return True  # a sixth would be seconds
    if fields[2] not in ("*", "?") and re.search("[#L]", fields[4], re.IGNORECASE):
        return True  # the day of the month is passed over beside MON#2 and L5
    return any(
        # In a list, a star is all of it; 3-3 and 59/5 are the whole circle; R is drawn at random.
        (item == "*" != field)
        or re.fullmatch(rf"(\w+)-\1(/\d+)?|({last})/\d+|[HR]\b.*", item, re.IGNORECASE)
        for field, last in zip(fields, _LAST, strict=True)
        for item in field.split(",")
    )


@cache
def _croniter() -> ModuleType:
    """Load the module from its file: by its name, it would bring all of Prefect along."""
    path = distribution("prefect").locate_file("prefect/_vendor/croniter/croniter.py")
    spec = spec_from_file_location("prefects_croniter", Path(str(path)))
    assert spec is not None
    assert spec.loader is not None
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
