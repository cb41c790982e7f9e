"""What stands now: the champion, the last retraining, the one that runs, the schedules."""

from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache

from flows.records import ledger
from flows.retraining.decide import last_retraining
from flows.runtime.retraining_lock import Owner, owner
from flows.schedules.config import Schedule, read_schedules
from models.config import load_params
from models.decision import Completed
from models.errors import PitchpipeError


@dataclass(frozen=True, slots=True)
class Standing:
    """What a person wants to know at a glance."""

    name: str
    """Registered name."""
    champion: int | None
    """By the ledger."""
    last: Completed | None
    retraining: Owner | None
    """The process that is retraining now."""
    schedules: tuple[Schedule, ...]
    trouble: str | None = None
    """Why some of this cannot be told."""

    @property
    def last_line(self) -> str:
        """The last verdict, in words."""
        if self.last is None:
            return "no retraining was completed yet"
        version = "" if self.last.version is None else f" version {self.last.version}"
        return f"{self.last.verdict}{version}, {self.last.finished:%Y-%m-%d %H:%M} UTC"

    @property
    def champion_line(self) -> str:
        """The champion, in words."""
        return f"{self.name} version {self.champion}" if self.champion else f"{self.name}: none yet"

    def next_tick(self, now: datetime) -> datetime | None:
        """When the first of the schedules comes next."""
        ticks = [one.next_tick(now) for one in self.schedules]
        return min((tick for tick in ticks if tick is not None), default=None)


def standing() -> Standing:
    """Read it; what cannot be read becomes `trouble`, since a page goes on being shown."""
    try:
        schedules = read_schedules()
        name = load_params().registered_name
    except PitchpipeError as error:
        return Standing("", None, last_retraining(), owner(), (), trouble=str(error))
    return Standing(name, _champion(name), last_retraining(), owner(), schedules)


def _champion(name: str) -> int | None:
    if not ledger.LEDGER.exists():
        return None
    state = ledger.LEDGER.stat()
    return _champion_of(name, (state.st_ino, state.st_mtime_ns, state.st_size))


@lru_cache(maxsize=1)
def _champion_of(name: str, _state: tuple[int, int, int]) -> int | None:
    """Read the ledger once for each state of its file: the page asks twice a second."""
    return ledger.read().champion_of(name)
