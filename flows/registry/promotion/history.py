"""What the ledger's entries of one name come to: who was champion, what is under way. Pure."""

from collections.abc import Sequence

from flows.records.ledger import Entry

_MOVES = {"promote", "rollback", "adopt"}
"""Actions after which the champion is entry.after."""


def champions(entries: Sequence[Entry]) -> tuple[int, ...]:
    """Versions that were champion and can be gone back to, oldest first; the last one is now.

    Going back drops what came after the version gone back to: a second rollback goes further back,
    not forth again.
    """
    line: list[int] = []
    for entry in entries:
        if entry.action not in _MOVES:
            continue
        if entry.after is None:  # the alias was taken away by hand, and that was adopted
            continue
        if entry.after in line and entry.action == "rollback":
            del line[line.index(entry.after) + 1 :]
        else:
            line = [version for version in line if version != entry.after] + [entry.after]
    return tuple(line)


def recorded_champion(entries: Sequence[Entry]) -> int | None:
    """Champion by the last entry that moved it; None where there was none."""
    moves = [entry for entry in entries if entry.action in _MOVES]
    return moves[-1].after if moves else None


def unfinished(entries: Sequence[Entry]) -> Entry | None:
    """Return the intent that no deed followed: whoever wrote it died in between."""
    last = next((entry for entry in reversed(entries) if entry.action != "decision"), None)
    return last if last is not None and last.action == "intent" else None


def awaiting(entries: Sequence[Entry], version: int) -> Entry | None:
    """Return the entry by which a version waits for approval; None where it does not.

    Its last decision counts: what the gate allowed and then held is to be judged again.
    """
    for entry in reversed(entries):
        if entry.after == version and entry.action in {"await", "hold", "reject", *_MOVES}:
            return entry if entry.action == "await" else None
    return None
