"""The shadow stage of `gate.shadow`: what keeps a challenger that passed the gate from service."""

from dataclasses import dataclass
from typing import Literal

from flows.registry.promotion.aliases import AliasEditor
from models.config.policies import GateParams


@dataclass(frozen=True, slots=True)
class ShadowStage:
    """Why a challenger is not promoted yet."""

    action: Literal["await", "hold"]
    reason: str
    """Follows its number."""


def stage_of(editor: AliasEditor, version: int, gate: GateParams) -> ShadowStage | None:
    """Return what a version's shadow beside today's champion still asks for; None: nothing.

    A first champion has nothing to be beside. One that labels show to be worse is held.
    """
    if gate.shadow == 0 or editor.champion is None or editor.champion == version:
        return None
    from flows.registry.promotion.shadow import shadow_test  # noqa: PLC0415 - seldom asked; scipy

    found = shadow_test(
        editor.tracking.name, champion=editor.champion, challenger=version, gate=gate
    )
    if found.shown == "worse":
        return ShadowStage("hold", f"was worse beside the champion: {found.sentence}")
    if found.labelled < gate.shadow:
        return ShadowStage(
            "await",
            f"awaits its shadow stage: {found.labelled} disagreements labelled of {gate.shadow}",
        )
    return None
