"""Findings: severity, fact and remedy, and running a check."""

import logging
from collections.abc import Callable, Iterator
from typing import Literal

from models.config import Record
from models.errors import PitchpipeError

log = logging.getLogger(__name__)

Level = Literal["ok", "warning", "error"]


class Finding(Record):
    """The outcome of a check."""

    level: Level
    """warning: works, but not for long or not as intended; error: does not work."""
    what: str
    remedy: str | None = None
    """Null where nothing needs to be done."""


Check = Callable[[], Iterator[Finding]]


def examine(name: str, check: Check) -> list[Finding]:
    """Run a check; one that fails is a finding itself, one without findings is ok."""
    try:
        found = list(check())
    except (PitchpipeError, OSError) as error:
        what = f"{name} cannot be examined: {error}"
        return [Finding(level="error", what=what, remedy="fix that, then run doctor again")]
    return found or [Finding(level="ok", what=name)]


def error(what: str, remedy: str) -> Finding:
    """Make a finding of what does not work."""
    return Finding(level="error", what=what, remedy=remedy)


def warning(what: str, remedy: str) -> Finding:
    """Make a finding of what works, but not for long or not as intended."""
    return Finding(level="warning", what=what, remedy=remedy)
