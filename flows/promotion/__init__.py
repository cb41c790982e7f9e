"""Moves of the champion: judged, compared and swapped under a lock, remembered, undone."""

from flows.promotion.auditing import Audit, audit
from flows.promotion.commands import (
    Judgement,
    Moved,
    adopt,
    approve,
    force_promotion,
    hand_moved,
    note_import,
    reject,
    rollback,
    settle,
)
from flows.promotion.errors import HandMovedError, NothingToMoveError, StaleVerdictError
from flows.promotion.judging import judge

__all__ = [
    "Audit",
    "HandMovedError",
    "Judgement",
    "Moved",
    "NothingToMoveError",
    "StaleVerdictError",
    "adopt",
    "approve",
    "audit",
    "force_promotion",
    "hand_moved",
    "judge",
    "note_import",
    "reject",
    "rollback",
    "settle",
]
