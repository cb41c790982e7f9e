"""One move of the aliases: intent, the champion's alias, the deed; repaired where it was broken."""

import contextlib
import logging
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from filelock import FileLock
from mlflow.exceptions import MlflowException

from flows.records import ledger
from flows.records.ledger import Deed, Entry, Head, Ledger, faults_against
from flows.registry.listing import aliases
from flows.registry.promotion.history import champions, recorded_champion, unfinished
from flows.registry.records import CHALLENGER, CHAMPION, PREVIOUS
from flows.tracking.store import Tracking, asking
from models.errors import BusyError, ConfigError, PitchpipeError


class StaleVerdictError(BusyError):
    """Somebody else moved the champion after the verdict was given."""


class HandMovedError(PitchpipeError):
    """An alias was moved outside pitchpipe."""


class NothingToMoveError(ConfigError):
    """There is no version to go back to, or none that waits."""


log = logging.getLogger(__name__)

LOCK = Path("mlruns/promotion.lock")
HEAD_TAG = "ledger.head"
"""Tag of the registered name: `length:digest` of the ledger when it last moved."""


@dataclass(frozen=True, slots=True)
class Desk:
    """The aliases of one name, with nobody else moving them."""

    tracking: Tracking
    entries: tuple[Entry, ...]
    """Of the ledger, about this name."""
    champion: int | None
    """By the alias, now."""

    @property
    def hand_moved(self) -> str | None:
        """Say how alias and ledger disagree; None where they agree."""
        recorded = recorded_champion(self.entries)
        if recorded == self.champion:
            return None
        seen = (
            f"alias champion of {self.tracking.name} points to {_called(self.champion)}, but the "
            f"ledger last saw {_called(recorded)}"
        )
        if recorded is not None and not is_registered(self.tracking, recorded):
            return (
                f"{seen}, which MLflow does not know: its database was lost or replaced. Put a "
                "copy of it back (`pitchpipe sync` rebuilds runs, not versions), or `pitchpipe "
                "adopt --reason R` accepts that, and the next `pitchpipe run` registers anew"
            )
        return (
            f"{seen}: it was moved outside pitchpipe. `pitchpipe adopt --reason R` "
            f"accepts that; `pitchpipe rollback --to {recorded or 'N'}` moves it back"
        )

    def require_agreement(self) -> None:
        """Raise HandMovedError where the alias is not where the ledger left it."""
        if self.hand_moved:
            raise HandMovedError(self.hand_moved)

    def move(self, deed: Deed) -> Entry:
        """Make the champion deed.after; the ledger knows of it before and afterwards."""
        intent = deed.model_copy(update={"action": "intent", "intends": deed.action})
        ledger.append(intent)
        self._point(deed)
        return self.note(deed)

    def note(self, deed: Deed) -> Entry:
        """Write a deed into the ledger and show it in MLflow."""
        entry = ledger.append(deed)
        with asking():
            _show(self.tracking, entry)
        return entry

    def finish(self, intent: Entry) -> Entry:
        """Settle a move whose process died: completed if the champion's alias had moved."""
        assert intent.intends is not None
        if self.champion == intent.after:
            deed = Deed(**intent.model_dump(include=set(Deed.model_fields) - {"intends"}))
            deed = deed.model_copy(
                update={
                    "action": intent.intends,
                    "reasons": (*intent.reasons, "completed after a crash"),
                }
            )
            self._point(deed)
            return self.note(deed)
        reason = f"{intent.intends} of version {intent.after} was not made: its process died"
        return self.note(
            Deed(
                action="abandon",
                name=intent.name,
                before=self.champion,
                after=self.champion,
                reasons=(reason,),
            )
        )

    def _point(self, deed: Deed) -> None:
        """Point the aliases: the champion's first, since it decides what a crash has left."""
        client, name = self.tracking.client, self.tracking.name
        line = champions((*self.entries, _as_entry(deed)))
        before = [version for version in line if version != deed.after]
        with asking():
            if deed.after is not None:
                client.set_registered_model_alias(name, CHAMPION, str(deed.after))
            if before:
                client.set_registered_model_alias(name, PREVIOUS, str(before[-1]))
            else:
                client.delete_registered_model_alias(name, PREVIOUS)
            if aliases(self.tracking).get(CHALLENGER) == deed.after:
                client.delete_registered_model_alias(name, CHALLENGER)


@contextlib.contextmanager
def desk(tracking: Tracking) -> Iterator[Desk]:
    """Sit down where aliases are moved, alone; what a crash left is settled first, and said."""
    LOCK.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(LOCK):
        entries = _read(tracking)
        intent = unfinished(entries)
        if intent is not None:
            champion = aliases(tracking).get(CHAMPION)
            settled = Desk(tracking, entries, champion).finish(intent)
            log.warning("settled what a crash had left: %s", "; ".join(settled.reasons))
            entries = _read(tracking)
        yield Desk(tracking, entries, aliases(tracking).get(CHAMPION))


def is_registered(tracking: Tracking, version: int | None = None) -> bool:
    """Whether MLflow knows a version, or the name at all: its database may have been lost."""
    with asking():
        if version is None:
            return bool(tracking.client.search_registered_models(f"name = '{tracking.name}'"))
        found = tracking.client.search_model_versions(f"name = '{tracking.name}'")
        return version in {int(one.version) for one in found}


def seen_head(tracking: Tracking) -> Head | None:
    """Return the ledger's head that MLflow was last shown; None: none, or none that can be read."""
    with asking():
        try:
            tags = tracking.client.get_registered_model(tracking.name).tags or {}
        except MlflowException as error:
            if error.error_code == "RESOURCE_DOES_NOT_EXIST":
                return None
            raise
    length, separator, digest = tags.get(HEAD_TAG, "").partition(":")
    return Head(length=int(length), digest=digest) if separator and length.isdecimal() else None


def _read(tracking: Tracking) -> tuple[Entry, ...]:
    found: Ledger = ledger.read()
    for problem in found.problems:
        log.warning("the ledger is not sound: %s; see `pitchpipe audit`", problem)
    return found.of(tracking.name)


def _show(tracking: Tracking, entry: Entry) -> None:
    """Mirror an entry as tags, so that MLflow's own pages tell the story."""
    client, name = tracking.client, tracking.name
    if not is_registered(tracking):  # a database that was lost has nothing to show it on
        return
    head = seen_head(tracking)
    # A ledger that was cut must go on disagreeing with what MLflow has seen.
    if head is None or not faults_against(ledger.read(), head):
        client.set_registered_model_tag(name, HEAD_TAG, f"{entry.number}:{entry.digest}")
    if entry.after is None:
        return
    said = f"{entry.time} {entry.who}: {'; '.join(entry.reasons)}"[:4000]
    tags = {f"ledger.{entry.action}": said}
    if entry.verdict is not None:
        tags["verdict"] = entry.verdict
    for key, value in tags.items():
        client.set_model_version_tag(name, str(entry.after), key, value)


def _as_entry(deed: Deed) -> Entry:
    """Treat a deed as if it were in the ledger."""
    facts = deed.model_dump()
    return Entry.model_construct(**facts, number=0, time="", who="", previous="", digest="")


def _called(version: int | None) -> str:
    return "no version" if version is None else f"version {version}"
