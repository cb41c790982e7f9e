"""Promote, reject, roll back, approve, adopt: each recorded in the ledger with its reasons."""

from flows.records.ledger import (
    Action,
    LedgerAction,
    awaiting,
    champions,
    keep_evidence,
    recorded_champion,
)
from flows.records.promotion import Judgement, Move
from flows.registry.listing import find_version, list_versions
from flows.registry.loading import open_version
from flows.registry.promotion.aliases import (
    AliasEditor,
    NothingToMoveError,
    StaleVerdictError,
    again_if_overtaken,
    edit_aliases,
)
from flows.registry.promotion.shadow_stage import stage_of
from flows.tracking.store import Tracking
from models.config.policies import GateParams, Verdict
from models.errors import ConfigError

_LEAVES_CHAMPION: dict[Verdict, Action] = {"PROMOTE": "await", "HOLD": "hold", "REJECT": "reject"}


@again_if_overtaken
def settle(tracking: Tracking, judgement: Judgement, gate: GateParams, *, reason: str = "") -> Move:
    """Carry out the gate's decision: promote (or await approval), hold or reject.

    A version held or awaiting approval becomes the challenger. reason: a person's, kept before the
    gate's. The gate's whole decision is kept as evidence.
    Raises StaleVerdictError where the champion is no longer the one judged against, HandMovedError
    where it was moved outside pitchpipe.
    """
    version, decision = judgement.version, judgement.decision
    with edit_aliases(tracking) as editor:
        editor.require_agreement()
        if editor.champion == version:
            return editor.unchanged(f"version {version} is the champion already")
        _require_champion(editor, judgement.champion, version=version)
        shadow = None if decision.verdict != "PROMOTE" else stage_of(editor, version, gate)
        promotes = decision.verdict == "PROMOTE" and gate.approval == "automatic"
        kind = _LEAVES_CHAMPION[decision.verdict] if shadow is None else shadow.action
        action = editor.action(
            "promote" if promotes and shadow is None else kind,
            version,
            *filter(None, [reason, shadow.reason if shadow else ""]),
            *decision.reasons,
        )
        promotes = action.action == "promote"
        judged = {"verdict": decision.verdict, "evidence": keep_evidence(decision)}
        action = action.model_copy(update=judged)
        if promotes:
            return editor.move(action)
        move = editor.note(action)
        if decision.verdict == "REJECT":
            editor.drop_challenger(version)
        else:
            editor.set_challenger(version)
        return move


@again_if_overtaken
def force_promotion(tracking: Tracking, version: int, *, reason: str) -> Move:
    """Promote against the gate, marked as forced. Raises ConfigError without a reason."""
    if not reason.strip():
        raise ConfigError("--force needs --reason: the ledger must be able to say why")
    open_version(tracking, version)
    with edit_aliases(tracking) as editor:
        editor.require_agreement()
        if editor.champion == version:
            return editor.unchanged(f"version {version} is the champion already")
        return editor.move(editor.action("promote", version, f"forced, without the gate: {reason}"))


@again_if_overtaken
def roll_back(tracking: Tracking, *, to: int | None = None, reason: str = "") -> Move:
    """Go back to a version, by default to the champion before this one.

    A version that was deleted since is skipped. With `to`, an alias that was moved by hand is put
    right, too. Raises NothingToMoveError where there is nothing to go back to.
    """
    with edit_aliases(tracking) as editor:
        if to is None:
            editor.require_agreement()
        target = to if to is not None else _champion_before(editor)
        open_version(tracking, target)
        if editor.champion == target and not editor.hand_moved:
            return editor.unchanged(f"version {target} is the champion already")
        return editor.move(
            editor.action("rollback", target, reason or f"back from {editor.champion}")
        )


@again_if_overtaken
def reject_version(tracking: Tracking, version: int, *, reason: str = "") -> Move:
    """Reject a version by hand. Raises ConfigError for the champion."""
    find_version(tracking, version)
    with edit_aliases(tracking) as editor:
        editor.require_agreement()
        if editor.champion == version:
            raise ConfigError(
                f"version {version} is the champion; `pitchpipe rollback` puts another in its place"
            )
        action = editor.action("reject", version, reason or "rejected by hand")
        move = editor.note(action.model_copy(update={"verdict": "REJECT"}))
        editor.drop_challenger(version)
        return move


@again_if_overtaken
def approve_version(
    tracking: Tracking, version: int, *, reason: str = "", gate: GateParams | None = None
) -> Move:
    """Promote a version that passed the gate and awaits approval.

    Raises NothingToMoveError where it does not, or awaits its shadow stage (`gate.shadow`) still;
    StaleVerdictError where the champion has changed since it was judged.
    """
    open_version(tracking, version)
    with edit_aliases(tracking) as editor:
        editor.require_agreement()
        waiting = awaiting(editor.entries, version)
        if waiting is None:
            raise NothingToMoveError(
                f"version {version} of {tracking.name} does not await approval; "
                f"`pitchpipe promote {version}` asks the gate"
            )
        _require_champion(editor, waiting.before, version=version)
        shadow = None if gate is None else stage_of(editor, version, gate)
        if shadow is not None:
            raise NothingToMoveError(
                f"version {version} {shadow.reason}; label more (`pitchpipe shadow report`), or "
                f"`pitchpipe promote {version} --force --reason R`"
            )
        approval = f"approved: {reason}" if reason else "approved"
        action = editor.action("promote", version, approval, *waiting.reasons)
        judged = {"verdict": waiting.verdict, "evidence": waiting.evidence}
        return editor.move(action.model_copy(update=judged))


@again_if_overtaken
def adopt_champion(tracking: Tracking, *, reason: str = "") -> Move:
    """Accept a champion's alias that was moved outside pitchpipe."""
    with edit_aliases(tracking) as editor:
        if not editor.hand_moved:
            return editor.unchanged("the alias is where the ledger left it")
        action = LedgerAction(
            action="adopt",
            name=tracking.name,
            before=recorded_champion(editor.entries),
            after=editor.champion,
            reasons=(reason or "moved outside pitchpipe, adopted",),
        )
        # Without a champion the alias was deleted, or the registry lost: nothing can be pointed.
        return editor.note(action) if editor.champion is None else editor.move(action)


@again_if_overtaken
def note_import(tracking: Tracking, version: int, *, origin: str, evidence: str) -> Move:
    """Record in the ledger that a version was imported; once, however often it is imported.

    origin: where from, in words;  evidence: JSON of what is known about it there.
    """
    with edit_aliases(tracking) as editor:
        if any(entry.action == "import" and entry.after == version for entry in editor.entries):
            return editor.unchanged(f"version {version} is in the ledger already")
        digest = keep_evidence(evidence)
        action = editor.action("import", version, origin)
        return editor.note(action.model_copy(update={"evidence": digest}))


def hand_moved(tracking: Tracking) -> str | None:
    """How the champion's alias and the ledger disagree, in a sentence; None where they agree.

    A move that a crash interrupted is settled first.
    """
    with edit_aliases(tracking) as editor:
        return editor.hand_moved


def _require_champion(editor: AliasEditor, judged_against: int | None, *, version: int) -> None:
    if editor.champion == judged_against:
        return
    raise StaleVerdictError(
        f"version {version} was judged against {judged_against or 'no champion'}, but the champion "
        f"is {editor.champion} by now; `pitchpipe promote {version}` judges it against that"
    )


def _champion_before(editor: AliasEditor) -> int:
    existing = {record.version for record in list_versions(editor.tracking)}
    known = champions(editor.entries)
    line = [version for version in known if version in existing and version != editor.champion]
    if not line:
        raise NothingToMoveError(
            f"{editor.tracking.name} had no champion before {editor.champion}; "
            "`pitchpipe rollback --to N` goes to any version"
        )
    return line[-1]
