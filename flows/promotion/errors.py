"""Why an alias was not moved."""

from models.errors import BusyError, ConfigError, PitchpipeError


class StaleVerdictError(BusyError):
    """Somebody else moved the champion after the verdict was given."""


class HandMovedError(PitchpipeError):
    """An alias was moved outside pitchpipe."""


class NothingToMoveError(ConfigError):
    """There is no version to go back to, or none that waits."""
