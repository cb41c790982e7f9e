"""The aliases of a registered name, moved under a lock and repaired after a crash.

A move writes an intent into the ledger, points the champion's alias, and writes the action. The
alias decides what becomes of an intent whose process died; in a ledger that hosts share the intent
itself does (docs/adr/0012).
"""

import contextlib
import functools
import logging
import os
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import ParamSpec

from filelock import FileLock

from flows.records import ledger
from flows.records.ledger import (
    Action,
    Entry,
    Head,
    Ledger,
    LedgerAction,
    OvertakenError,
    champions,
    faults_against,
    recorded_champion,
    unfinished,
)
from flows.records.promotion import Move
from flows.records.shared_ledger import VARIABLE, shared_place
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


P = ParamSpec("P")
log = logging.getLogger(__name__)

LOCK = Path("mlruns/promotion.lock")
_PATIENCE_SECONDS = 5.0
"""For a move that another host has begun: three requests to MLflow."""
_ATTEMPTS = 20
"""Each is one that another host made instead."""
PLACE_TAG = "ledger.at"
"""Tag of the registered name: where its shared ledger lies."""
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
    seen: int
    """Length of the ledger that this rests on."""

    @property
    def disagrees(self) -> bool:
        """Whether alias and ledger differ."""
        return recorded_champion(self.entries) != self.champion

    @property
    def hand_moved(self) -> str | None:
        """How alias and ledger disagree, in a sentence; None where they agree."""
        if not self.disagrees:
            return None
        recorded = recorded_champion(self.entries)
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
            f"{seen}: it was moved outside pitchpipe{_elsewhere(self.tracking)}. "
            "`pitchpipe adopt --reason R` accepts that; "
            f"`pitchpipe rollback --to {recorded or 'N'}` moves it back"
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
        """Make `action.after` the champion, with an entry in the ledger before and afterwards.

        The intent decides between hosts: whoever appends it first moves. Raises OvertakenError
        where somebody else did.
        """
        announced = action.model_copy(update={"action": "intent", "intends": action.action})
        intent = ledger.append(announced, seen=self.seen)
        self._point(action)
        try:
            entry = self._append(action, seen=intent.number)
        except OvertakenError:  # another host took us for dead, and made the move itself
            return Move(entry=_point_again(self.tracking, intent), after=action.after)
        return Move(entry=entry, after=action.after)

    def note(self, action: LedgerAction) -> Move:
        """Write an action that leaves the champion into the ledger, and show it in MLflow."""
        return Move(entry=self._append(action, seen=self.seen), after=self.champion)

    def unchanged(self, note: str) -> Move:
        """Report that there was nothing to do."""
        return Move(after=self.champion, note=note)

    def finish(self, intent: Entry) -> Entry:
        """Settle a move whose process died: completed if the champion's alias had moved.

        In a shared ledger it is completed anyway, where there still is such a version: the intent
        was the first, and its process may live on another host, to which we look dead.
        """
        assert intent.intends is not None
        if self.champion == intent.after or (shared_place() and self._has(intent.after)):
            facts = {name: getattr(intent, name) for name in LedgerAction.model_fields}
            reasons = (*intent.reasons, "completed after a crash")
            changed = {"action": intent.intends, "intends": None, "reasons": reasons}
            action = LedgerAction.model_validate(facts | changed)
            self._point(action)
            return self._append(action, seen=self.seen)
        reason = f"{intent.intends} of version {intent.after} was not made: its process died"
        abandoned = LedgerAction(
            action="abandon",
            name=intent.name,
            before=self.champion,
            after=self.champion,
            reasons=(reason,),
        )
        return self._append(abandoned, seen=self.seen)

    def _has(self, version: int | None) -> bool:
        return version in {record.version for record in list_versions(self.tracking)}

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

    def _append(self, action: LedgerAction, *, seen: int) -> Entry:
        entry = ledger.append(action, seen=seen)
        with mlflow_errors():
            _show(self.tracking, entry)
        return entry


@contextlib.contextmanager
def edit_aliases(tracking: Tracking) -> Iterator[AliasEditor]:
    """Hold the lock of the aliases; a move that a crash interrupted is settled first and logged.

    The lock holds on this host. Between hosts, what an editor appends is refused by the ledger
    where it rests on something that another host has overtaken.
    """
    LOCK.parent.mkdir(parents=True, exist_ok=True)
    # Where no file can be made nobody can move either: `versions` and `audit` look without a lock.
    writable = os.access(LOCK.parent, os.W_OK)
    with FileLock(LOCK) if writable else contextlib.nullcontext():
        _require_ledger(tracking)
        yield _settled(tracking)


def again_if_overtaken(act: Callable[P, Move]) -> Callable[P, Move]:
    """Do an edit again, on what is true by now, where another host was first."""

    @functools.wraps(act)
    def act_again(*args: P.args, **kwargs: P.kwargs) -> Move:
        for _ in range(_ATTEMPTS):
            with contextlib.suppress(OvertakenError):
                return act(*args, **kwargs)
        return act(*args, **kwargs)

    return act_again


def _settled(tracking: Tracking) -> AliasEditor:
    """Read ledger and alias as of one moment, with no move in between, which is waited for."""
    deadline = time.monotonic() + (_PATIENCE_SECONDS if shared_place() else 0.0)
    while True:
        found = _read()
        editor = AliasEditor(
            tracking, found.of(tracking.name), aliases(tracking).get(CHAMPION), found.head.length
        )
        intent = unfinished(editor.entries)
        if intent is not None and time.monotonic() > deadline:
            with contextlib.suppress(OvertakenError):  # somebody else has settled it
                settled = editor.finish(intent)
                log.warning("settled what a crash had left: %s", "; ".join(settled.reasons))
        elif intent is not None:
            time.sleep(0.1)  # of another host, which sends no event
        # Where it differs another host may just have moved the alias.
        elif not editor.disagrees or ledger.read().head == found.head:
            return editor


def _point_again(tracking: Tracking, intent: Entry) -> Entry:
    """Put the alias right that we moved late; return the entry with which another host was first.

    Until the ledger is as long afterwards as before: then nobody moved in between.
    """
    while True:
        found = ledger.read()
        entries = found.of(tracking.name)
        champion = recorded_champion(entries)
        if champion is not None:
            with mlflow_errors():
                tracking.client.set_registered_model_alias(tracking.name, CHAMPION, str(champion))
        if ledger.read().head == found.head:
            later = (entry for entry in entries if entry.number > intent.number)
            return next(entry for entry in later if entry.action != "decision")


def _require_ledger(tracking: Tracking) -> None:
    """Raise ConfigError where the name's moves are in a shared ledger that is not ours.

    A promotion that does not see them would not be held back by them.
    """
    registered = registered_model(tracking)
    place = shared_place()
    theirs = registered.tags.get(PLACE_TAG) if registered else None
    if theirs is not None and theirs != str(place):
        ours = f"is {place}" if place else "is not set"
        raise ConfigError(
            f"the ledger of {tracking.name} is {theirs}, and {VARIABLE} {ours}; set it to that. "
            f"Should the team's ledger have moved, delete the tag {PLACE_TAG} in MLflow"
        )


def seen_head(tracking: Tracking) -> Head | None:
    """Return the ledger's head that MLflow was last told; None where there is no readable one."""
    registered = registered_model(tracking)
    text = registered.tags.get(HEAD_TAG, "") if registered else ""
    length, separator, digest = text.partition(":")
    return Head(length=int(length), digest=digest) if separator and length.isdecimal() else None


def _read() -> Ledger:
    found = ledger.read()
    for problem in found.problems:
        log.warning("the ledger is not sound: %s; see `pitchpipe audit`", problem)
    return found


def _show(tracking: Tracking, entry: Entry) -> None:
    """Mirror an entry as tags, for MLflow's own pages."""
    client, name = tracking.client, tracking.name
    if registered_model(tracking) is None:  # the database was lost
        return
    head = seen_head(tracking)
    # A ledger that was cut must go on disagreeing with what MLflow has seen.
    if head is None or not faults_against(ledger.read(), head):
        client.set_registered_model_tag(name, HEAD_TAG, f"{entry.number}:{entry.digest}")
    if (place := shared_place()) is not None:
        client.set_registered_model_tag(name, PLACE_TAG, str(place))
    if entry.after is None:
        return
    text = f"{entry.time} {entry.who}: {'; '.join(entry.reasons)}"[:4000]
    tags = {f"ledger.{entry.action}": text}
    if entry.verdict is not None:
        tags["verdict"] = entry.verdict
    for key, value in tags.items():
        client.set_model_version_tag(name, str(entry.after), key, value)


def _elsewhere(tracking: Tracking) -> str:
    """Name another reason where hosts share a server and no ledger."""
    alone = shared_place() is None and tracking.uri.startswith("http")
    return f", or by a host with another ledger ({VARIABLE} makes it one)" if alone else ""


def _called(version: int | None) -> str:
    return "no version" if version is None else f"version {version}"
