"""Messages of the ledger's entries that no retraining made: by hand, and by the guard."""

from flows.records.ledger import MOVES, Entry
from flows.records.promotion import Move
from flows.retraining.notify import send_notification
from flows.retraining.notify_apprise import Message
from models.config import NotifyParams
from models.config.policies import NotifiedEvent

_EVENTS: dict[str, tuple[NotifiedEvent, str]] = {
    "promote": ("promote", "{who} promoted {after}, after {before}"),
    "hold": ("hold", "{after}, which {who} asked the gate about, is held"),
    "reject": ("reject", "{after} was rejected, asked for by {who}"),
    "await": ("await", "{after} passed the gate and awaits `pitchpipe approve`"),
    "rollback": ("rollback", "{who} rolled back to {after}, from {before}"),
    "adopt": ("adopt", "{who} accepted {after}, where the alias had been moved outside pitchpipe"),
    "foreign": ("foreign", "alias champion was moved outside pitchpipe, from {before} to {after}"),
    "restore": ("restore", "alias champion was put back to {after}, from {before}"),
}
"""Action of the ledger -> its event, and its sentence."""


def entry_message(entry: Entry) -> Message:
    """Describe an entry of the ledger that a command or the guard of the alias wrote."""
    event, text = _EVENTS[entry.action]
    said = text.format(who=entry.who, before=_called(entry.before), after=_called(entry.after))
    moved = entry.action in MOVES or entry.action == "foreign"
    return Message(
        text=f"{entry.name}: {said}",
        event=event,
        name=entry.name,
        version=entry.after,
        champion=entry.after if moved else entry.before,
        verdict=entry.verdict,
        reasons=entry.reasons,
        who=entry.who,
        time=entry.time,
    )


def notify_of_move(move: Move, params: NotifyParams) -> None:
    """Tell of a command by hand, if it did anything; takes as long as `send_notification`."""
    if move.entry is not None and move.entry.action in _EVENTS:
        send_notification(entry_message(move.entry), params)


def _called(version: int | None) -> str:
    return "no version" if version is None else f"version {version}"
