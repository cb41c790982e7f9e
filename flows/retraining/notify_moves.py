"""Messages of the ledger's entries that no retraining made."""

from flows.records.ledger import Entry
from flows.retraining.notify import Message
from models.config.policies import NotifiedEvent

_GUARDED: dict[str, tuple[NotifiedEvent, str]] = {
    "foreign": ("foreign", "alias champion was moved outside pitchpipe, from {before} to {after}"),
    "restore": ("restore", "alias champion was put back to {after}, from {before}"),
}


def guard_message(entry: Entry) -> Message:
    """Describe an entry that the guard of the alias wrote: foreign or restore."""
    event, text = _GUARDED[entry.action]
    moved = text.format(before=_called(entry.before), after=_called(entry.after))
    return Message(
        text=f"{entry.name}: {moved}",
        event=event,
        name=entry.name,
        version=entry.after,
        champion=entry.after,
        reasons=entry.reasons,
        who=entry.who,
        time=entry.time,
    )


def _called(version: int | None) -> str:
    return "no version" if version is None else f"version {version}"
