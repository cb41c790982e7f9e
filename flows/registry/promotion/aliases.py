"""The aliases of a registered name, moved under a lock and repaired after a crash.

A move writes an intent into the ledger, points the champion's alias, and writes the action. The
alias decides what becomes of an intent whose process died.
"""

import contextlib
import logging
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from filelock import FileLock

from flows.records import ledger
from flows.records.ledger import (
    Action,
    Entry,
    Head,
    LedgerAction,
    champions,
    faults_against,
    recorded_champion,
    unfinished,
)
from flows.records.promotion import Move
from flows.registry.listing import aliases, list_versions, registered_model
from flows.registry.records import CHALLENGER, CHAMPION, PREVIOUS
from flows.tracking.store import Tracking, mlflow_errors
from models.errors import BusyError, ConfigError, PitchpipeError


class StaleVerdictError(BusyError):
    """The champion was moved by another process after the verdict."""


class HandMovedError(PitchpipeError):
    """The champion's alias was moved outside pitchpipe."""


class NothingToMoveError(ConfigError):
    """There is no version to go back to, or none that awaits approval."""


log = logging.getLogger(__name__)

LOCK = Path("mlruns/promotion.lock")
HEAD_TAG = "ledger.head"
"""Tag of the registered name: `length:digest` of the ledger when it last moved."""


@dataclass(frozen=True, slots=True)
class AliasEditor:
    """The aliases of one registered name, under the lock."""

    tracking: Tracking
    entries: tuple[Entry, ...]
    """Of the ledger, about this name."""
    champion: int | None
    """By the alias, now."""

    @property
    def hand_moved(self) -> str | None:
        """How alias and ledger disagree, in a sentence; None where they agree."""
        recorded = recorded_champion(self.entries)
        if recorded == self.champion:
            return None
        seen = (
            f"alias champion of {self.tracking.name} points to {_called(self.champion)}, but the "
            f"ledger last saw {_called(recorded)}"
        )
        known = {record.version for record in list_versions(self.tracking)}
        if recorded is not None and recorded not in known:
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

    def action(self, action: Action, version: int, *reasons: str) -> LedgerAction:
        """Describe an action on a version, with today's champion as the one before."""
        return LedgerAction(
            action=action,
            name=self.tracking.name,
            before=self.champion,
            after=version,
            reasons=reasons,
        )

    def move(self, action: LedgerAction) -> Move:
        """Make `action.after` the champion, with an entry in the ledger before and afterwards."""
        ledger.append(action.model_copy(update={"action": "intent", "intends": action.action}))
        self._point(action)
        return Move(entry=self._append(action), after=action.after)

    def note(self, action: LedgerAction) -> Move:
        """Write an action that leaves the champion into the ledger, and show it in MLflow."""
        return Move(entry=self._append(action), after=self.champion)

    def unchanged(self, note: str) -> Move:
        """Report that there was nothing to do."""
        return Move(after=self.champion, note=note)

    def finish(self, intent: Entry) -> Entry:
        """Settle a move whose process died: completed if the champion's alias had moved."""
        assert intent.intends is not None
        if self.champion == intent.after:
            facts = {name: getattr(intent, name) for name in LedgerAction.model_fields}
            reasons = (*intent.reasons, "completed after a crash")
            changed = {"action": intent.intends, "intends": None, "reasons": reasons}
            action = LedgerAction.model_validate(facts | changed)
            self._point(action)
            return self._append(action)
        reason = f"{intent.intends} of version {intent.after} was not made: its process died"
        abandoned = LedgerAction(
            action="abandon",
            name=intent.name,
            before=self.champion,
            after=self.champion,
            reasons=(reason,),
        )
        return self._append(abandoned)

    def set_challenger(self, version: int) -> None:
        """Point `challenger` to a version."""
        with mlflow_errors():
            self.tracking.client.set_registered_model_alias(
                self.tracking.name, CHALLENGER, str(version)
            )

    def drop_challenger(self, version: int) -> None:
        """Delete `challenger` where it points to a version."""
        with mlflow_errors():
            if aliases(self.tracking).get(CHALLENGER) == version:
                self.tracking.client.delete_registered_model_alias(self.tracking.name, CHALLENGER)

    def _point(self, action: LedgerAction) -> None:
        """Point the aliases, the champion's first: after a crash it tells how far the move came."""
        client, name = self.tracking.client, self.tracking.name
        line = champions((*self.entries, action))
        before = [version for version in line if version != action.after]
        with mlflow_errors():
            if action.after is not None:
                client.set_registered_model_alias(name, CHAMPION, str(action.after))
            if before:
                client.set_registered_model_alias(name, PREVIOUS, str(before[-1]))
            else:
                client.delete_registered_model_alias(name, PREVIOUS)
        if action.after is not None:
            self.drop_challenger(action.after)

    def _append(self, action: LedgerAction) -> Entry:
        entry = ledger.append(action)
        with mlflow_errors():
            _show(self.tracking, entry)
        return entry


@contextlib.contextmanager
def edit_aliases(tracking: Tracking) -> Iterator[AliasEditor]:
    """Hold the lock of the aliases; a move that a crash interrupted is settled first and logged."""
    LOCK.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(LOCK):
        entries = _read(tracking)
        intent = unfinished(entries)
        if intent is not None:
            champion = aliases(tracking).get(CHAMPION)
            settled = AliasEditor(tracking, entries, champion).finish(intent)
            log.warning("settled what a crash had left: %s", "; ".join(settled.reasons))
            entries = _read(tracking)
        yield AliasEditor(tracking, entries, aliases(tracking).get(CHAMPION))


def seen_head(tracking: Tracking) -> Head | None:
    """Return the ledger's head that MLflow was last told; None where there is no readable one."""
    registered = registered_model(tracking)
    text = registered.tags.get(HEAD_TAG, "") if registered else ""
    length, separator, digest = text.partition(":")
    return Head(length=int(length), digest=digest) if separator and length.isdecimal() else None


def _read(tracking: Tracking) -> tuple[Entry, ...]:
    found = ledger.read()
    for problem in found.problems:
        log.warning("the ledger is not sound: %s; see `pitchpipe audit`", problem)
    return found.of(tracking.name)


def _show(tracking: Tracking, entry: Entry) -> None:
    """Mirror an entry as tags, for MLflow's own pages."""
    client, name = tracking.client, tracking.name
    if registered_model(tracking) is None:  # the database was lost
        return
    head = seen_head(tracking)
    # A ledger that was cut must go on disagreeing with what MLflow has seen.
    if head is None or not faults_against(ledger.read(), head):
        client.set_registered_model_tag(name, HEAD_TAG, f"{entry.number}:{entry.digest}")
    if entry.after is None:
        return
    text = f"{entry.time} {entry.who}: {'; '.join(entry.reasons)}"[:4000]
    tags = {f"ledger.{entry.action}": text}
    if entry.verdict is not None:
        tags["verdict"] = entry.verdict
    for key, value in tags.items():
        client.set_model_version_tag(name, str(entry.after), key, value)


def _called(version: int | None) -> str:
    return "no version" if version is None else f"version {version}"
