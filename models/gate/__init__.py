"""The gate: whether a challenger may replace the champion, with reasons and numbers; pure."""

from models.gate.floors import floors
from models.gate.records import (
    ChampionUnusable,
    Comparison,
    GateDecision,
    GateInput,
    Reason,
    images_in_both,
)
from models.gate.verdict import decide

__all__ = [
    "ChampionUnusable",
    "Comparison",
    "GateDecision",
    "GateInput",
    "Reason",
    "decide",
    "floors",
    "images_in_both",
]
