"""Errors for users, with exit codes, and numbers in messages.

Each message names the value, the rule and the way out.
"""

import urllib.error
from collections.abc import Sequence
from typing import ClassVar


class PitchpipeError(Exception):
    """Work was started and failed."""

    exit_code: ClassVar[int] = 1


class ConfigError(PitchpipeError):
    """Params, options or arguments are wrong; nothing was started."""

    exit_code: ClassVar[int] = 2


class MissingExtraError(ConfigError):
    """A package that only an extra of pitchpipe needs is not installed, or not as it must be."""


class InputError(PitchpipeError):
    """Images, files or paths given by the user are unusable; nothing was written."""

    exit_code: ClassVar[int] = 2


class IntegrityError(PitchpipeError):
    """A file does not have the content that its digest or format requires."""


class BusyError(PitchpipeError):
    """Another process holds a lock that this one needs."""


class UnreachableError(PitchpipeError):
    """A service does not answer, or refuses for the moment."""


def can_heal(error: BaseException | None) -> bool:
    """Whether the operation may succeed later: a service was unreachable, nothing was wrong."""
    if error is None or isinstance(error, ConfigError | BusyError):
        return False
    absences = (UnreachableError, ConnectionError, TimeoutError, urllib.error.URLError)
    return isinstance(error, absences) or can_heal(error.__cause__)


def some_of(sentences: Sequence[str], most: int = 5) -> tuple[str, ...]:
    """Return the first few sentences, and how many more there are."""
    more = len(sentences) - most
    return (*sentences[:most], *((f"and {more:,} more",) if more > 0 else ()))


def quantity(number: int, noun: str) -> str:
    """Return a number with its noun for a message: `1 trial`, `2 batches`, `1,200 deliveries`."""
    if number == 1:
        return f"1 {noun}"
    hisses = noun.endswith(("s", "x", "ch", "sh")) and not noun.endswith("epoch")
    if hisses:
        return f"{number:,} {noun}es"
    ends_in_y = noun.endswith("y") and noun[-2] not in "aeiou"
    return f"{number:,} {noun[:-1]}ies" if ends_in_y else f"{number:,} {noun}s"
