"""Errors a user may meet: each message names the value, the rule and the way out."""

import urllib.error
from typing import ClassVar


class PitchpipeError(Exception):
    """Work was begun and could not be finished."""

    exit_code: ClassVar[int] = 1


class ConfigError(PitchpipeError):
    """Params, options or arguments are wrong; nothing was begun."""

    exit_code: ClassVar[int] = 2


class InputError(PitchpipeError):
    """Images, files or paths given by the user are unusable; nothing was written."""

    exit_code: ClassVar[int] = 2


class IntegrityError(PitchpipeError):
    """A file does not have the content its digest promises."""


class BusyError(PitchpipeError):
    """Another process holds what this one needs."""


class UnreachableError(PitchpipeError):
    """A service does not answer, or refuses; later it may do better."""


def can_heal(error: BaseException | None) -> bool:
    """Whether time may mend what went wrong: somebody's absence, not somebody's mistake."""
    if error is None or isinstance(error, ConfigError | BusyError):
        return False
    absences = (UnreachableError, ConnectionError, TimeoutError, urllib.error.URLError)
    return isinstance(error, absences) or can_heal(error.__cause__)
