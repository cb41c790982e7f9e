"""What an examination finds: how bad it is, what it is, and what to do about it."""

import logging
from collections.abc import Callable, Iterator
from typing import Literal

from models.config import Record
from models.errors import PitchpipeError

log = logging.getLogger(__name__)

Level = Literal["ok", "warning", "error"]


class Finding(Record):
    """One thing that was looked at."""

    level: Level
    """warning: works, but not for long or not as meant; error: something does not work."""
    what: str
    remedy: str | None = None
    """Null where nothing is to be done."""


Check = Callable[[], Iterator[Finding]]


def examine(name: str, check: Check) -> list[Finding]:
    """Run a check; one that breaks is a finding itself, one that finds nothing is ok."""
    try:
        found = list(check())
    except (PitchpipeError, OSError) as error:
        what = f"{name} cannot be examined: {error}"
        return [Finding(level="error", what=what, remedy="mend that, then run this again")]
    return found or [Finding(level="ok", what=name)]


def error(what: str, remedy: str) -> Finding:
    """Something does not work."""
    return Finding(level="error", what=what, remedy=remedy)


def warning(what: str, remedy: str) -> Finding:
    """Something works, but not for long or not as meant."""
    return Finding(level="warning", what=what, remedy=remedy)
