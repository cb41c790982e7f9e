"""Trying again, with longer and longer pauses, what time may heal; and nothing else."""

import time
from collections.abc import Callable
from typing import TypeVar

from models.errors import can_heal

PAUSES = (60.0, 300.0, 900.0)
"""Seconds before the second, third and last attempt: a server that restarts, a network that is
mended. Trials that were trained meanwhile are in the store and cost nothing again."""

_Result = TypeVar("_Result")


def persistently(
    act: Callable[[], _Result],
    *,
    say: Callable[[str], object],
    wait: Callable[[float], object] = time.sleep,
) -> _Result:
    """Return what act returns; its errors that can heal are said, and it is tried again.

    An error that cannot, and the last one, are raised as they are.
    """
    for pause in PAUSES:
        try:
            return act()
        except Exception as error:
            if not can_heal(error):
                raise
            say(f"tried again: in {pause:.0f} s, since {error}")
        wait(pause)
    return act()
