"""Moves of the champion's alias outside pitchpipe: recorded once each, and undone where asked.

Both hold the lock of the aliases, so that neither meets a promotion half made: that is no foreign
move, and where its process died it is settled first.
"""

from datetime import datetime, timedelta

from flows.records.ledger import LedgerAction, alias_seen, recorded_champion
from flows.records.promotion import Move
from flows.registry.listing import list_versions
from flows.registry.loading import open_version
from flows.registry.promotion.aliases import AliasEditor, edit_aliases
from flows.tracking.store import Tracking
from models.errors import PitchpipeError

DAY = timedelta(hours=24)


class NotRestoredError(PitchpipeError):
    """The alias is left where it was put."""


def note_foreign_move(tracking: Tracking) -> Move | None:
    """Record in the ledger where the alias was moved to; None: it is where it was last seen.

    One that was moved back by hand is recorded, too. Raises TrackingError.
    """
    with edit_aliases(tracking) as editor:
        before = alias_seen(editor.entries)
        if before == editor.champion:
            return None
        action = LedgerAction(
            action="foreign",
            name=tracking.name,
            before=before,
            after=editor.champion,
            reasons=(_found(editor),),
        )
        return editor.note(action)


def restore_champion(tracking: Tracking, *, now: datetime, most_a_day: int) -> Move | None:
    """Put the alias back to the ledger's champion; None where it is there.

    Raises NotRestoredError where the ledger knows no champion or MLflow no longer has it, and after
    so many times within 24 hours; IntegrityError where the champion's files are not those that were
    registered, TrackingError where MLflow fails.
    """
    with edit_aliases(tracking) as editor:
        champion = recorded_champion(editor.entries)
        if champion == editor.champion:
            return None
        if champion is None or champion not in {one.version for one in list_versions(tracking)}:
            raise NotRestoredError(f"it is not put back: {editor.hand_moved}")
        if _restored(editor, now) >= most_a_day:
            raise NotRestoredError(
                f"it was put back {most_a_day} times within 24 hours, as often as "
                f"guard.restores_per_day allows, and is left there: {editor.hand_moved}"
            )
        open_version(tracking, champion)
        seen = "no version" if editor.champion is None else f"version {editor.champion}"
        reason = f"put back by guard.restore: alias champion pointed to {seen}"
        return editor.move(editor.action("restore", champion, reason))


def _found(editor: AliasEditor) -> str:
    """Say how alias and ledger disagree, or that they agree again."""
    if editor.hand_moved is not None:
        return editor.hand_moved
    return f"alias champion of {editor.tracking.name} was moved back outside pitchpipe"


def _restored(editor: AliasEditor, now: datetime) -> int:
    """Count the times that it was put back within 24 hours."""
    times = (
        datetime.fromisoformat(entry.time) for entry in editor.entries if entry.action == "restore"
    )
    return sum(now - time < DAY for time in times)
