"""Promote, reject, roll back, approve, adopt: each a move with its reasons, each in the ledger."""

from dataclasses import dataclass

from flows.records.ledger import Entry, LedgerAction, keep_evidence
from flows.registry.listing import aliases, find_version, list_versions
from flows.registry.loading import open_version
from flows.registry.promotion.aliases import (
    AliasEditor,
    NothingToMoveError,
    StaleVerdictError,
    edit_aliases,
)
from flows.registry.promotion.history import awaiting, champions, recorded_champion
from flows.registry.records import CHALLENGER
from flows.tracking.store import Tracking, mlflow_errors
from models.config import Record
from models.config.policies import GateParams, Verdict
from models.errors import ConfigError
from models.gate.records import GateDecision


@dataclass(frozen=True, slots=True)
class Judgement:
    """The gate's decision on a version, and against whom it was given."""

    version: int
    champion: int | None
    decision: GateDecision

    @property
    def reasons(self) -> tuple[str, ...]:
        """What decided it, in sentences."""
        asked = self.decision.reasons
        failed = tuple(reason.text for reason in asked if not reason.passed)
        return failed or tuple(reason.text for reason in asked)


class Moved(Record):
    """What a command came to."""

    action: str
    """As in the ledger; `none` where nothing had to be done."""
    before: int | None
    """Champion until then."""
    after: int | None
    """Champion from then on."""
    verdict: Verdict | None
    reasons: tuple[str, ...]
    ledger_entry: str | None
    """Digest of the ledger's entry."""


def settle(
    tracking: Tracking, judgement: Judgement, gate: GateParams, *, reason: str = ""
) -> Moved:
    """Do what the gate decided: promote (or await approval), hold or reject.

    reason: of whoever asked, before the gate's own.
    Raises StaleVerdictError where the champion is no longer the one judged against, HandMovedError
    where it was moved outside pitchpipe.
    """
    with edit_aliases(tracking) as held:
        held.require_agreement()
        if held.champion == judgement.version:
            return _nothing(held, f"version {judgement.version} is the champion already")
        _compare(held, judgement.champion, version=judgement.version)
        verdict = judgement.decision.verdict
        automatic = verdict == "PROMOTE" and gate.approval == "automatic"
        actions = {"PROMOTE": "await", "HOLD": "hold", "REJECT": "reject"}
        action = _action("promote" if automatic else actions[verdict], held, judgement)
        if reason:
            action = action.model_copy(update={"reasons": (reason, *action.reasons)})
        if automatic:
            return _moved(held.move(action))
        entry = held.note(action)
        if verdict == "REJECT":
            _drop_challenger(tracking, judgement.version)
        return _stayed(held, entry)


def force_promotion(tracking: Tracking, version: int, *, reason: str) -> Moved:
    """Promote against the gate, marked as forced. Raises ConfigError without a reason."""
    if not reason.strip():
        raise ConfigError("--force needs --reason: the ledger must be able to say why")
    open_version(tracking, version)
    with edit_aliases(tracking) as held:
        held.require_agreement()
        if held.champion == version:
            return _nothing(held, f"version {version} is the champion already")
        reasons = (f"forced, without the gate: {reason}",)
        return _moved(held.move(_plain("promote", held, version, reasons=reasons)))


def roll_back(tracking: Tracking, *, to: int | None = None, reason: str = "") -> Moved:
    """Go back to a version, by default to the champion before this one.

    A version that was deleted since is passed over. With `to`, also puts right an alias that was
    moved by hand. Raises NothingToMoveError where there is nothing to go back to.
    """
    with edit_aliases(tracking) as held:
        if to is None:
            held.require_agreement()
        target = to if to is not None else _before(held)
        open_version(tracking, target)
        if held.champion == target and not held.hand_moved:
            return _nothing(held, f"version {target} is the champion already")
        reasons = (reason or f"back from {held.champion}",)
        return _moved(held.move(_plain("rollback", held, target, reasons=reasons)))


def reject_version(tracking: Tracking, version: int, *, reason: str = "") -> Moved:
    """Decide that a version shall not serve. Raises ConfigError for the champion."""
    find_version(tracking, version)
    with edit_aliases(tracking) as held:
        held.require_agreement()
        if held.champion == version:
            raise ConfigError(
                f"version {version} is the champion; `pitchpipe rollback` puts another in its place"
            )
        action = _plain("reject", held, version, reasons=(reason or "rejected by hand",))
        entry = held.note(action.model_copy(update={"verdict": "REJECT"}))
        _drop_challenger(tracking, version)
        return _stayed(held, entry)


def approve_version(tracking: Tracking, version: int, *, reason: str = "") -> Moved:
    """Promote a version that passed the gate and waits.

    Raises NothingToMoveError where it does not wait, StaleVerdictError where the champion has
    changed since it was judged.
    """
    open_version(tracking, version)
    with edit_aliases(tracking) as held:
        held.require_agreement()
        waiting = awaiting(held.entries, version)
        if waiting is None:
            raise NothingToMoveError(
                f"version {version} of {tracking.name} does not wait for approval; "
                f"`pitchpipe promote {version}` asks the gate"
            )
        _compare(held, waiting.before, version=version)
        said = f"approved: {reason}" if reason else "approved"
        action = _plain("promote", held, version, reasons=(said, *waiting.reasons))
        kept = {"verdict": waiting.verdict, "evidence": waiting.evidence}
        return _moved(held.move(action.model_copy(update=kept)))


def adopt_champion(tracking: Tracking, *, reason: str = "") -> Moved:
    """Accept a champion's alias that was moved outside pitchpipe."""
    with edit_aliases(tracking) as held:
        if not held.hand_moved:
            return _nothing(held, "the alias is where the ledger left it")
        action = LedgerAction(
            action="adopt",
            name=tracking.name,
            before=recorded_champion(held.entries),
            after=held.champion,
            reasons=(reason or "moved outside pitchpipe, adopted",),
        )
        if held.champion is None:  # whose alias was taken away, or whose registry was lost
            return _answer(held.note(action), after=None)
        return _moved(held.move(action))


def note_import(tracking: Tracking, version: int, *, origin: str, evidence: str) -> Moved:
    """Write into the ledger that a version came from elsewhere; once, however often it comes.

    origin: where from;  evidence: JSON of what was said of it there.
    """
    with edit_aliases(tracking) as held:
        if any(entry.action == "import" and entry.after == version for entry in held.entries):
            return _nothing(held, f"version {version} is in the ledger already")
        action = _plain("import", held, version, reasons=(origin,))
        kept = {"evidence": keep_evidence(evidence)}
        return _stayed(held, held.note(action.model_copy(update=kept)))


def hand_moved(tracking: Tracking) -> str | None:
    """Say how the champion's alias and the ledger disagree; None where they agree.

    What a crash has left is settled first.
    """
    with edit_aliases(tracking) as held:
        return held.hand_moved


def _compare(held: AliasEditor, judged_against: int | None, *, version: int) -> None:
    if held.champion == judged_against:
        return
    raise StaleVerdictError(
        f"version {version} was judged against {judged_against or 'no champion'}, but the champion "
        f"is {held.champion} by now; `pitchpipe promote {version}` judges it against that"
    )


def _before(held: AliasEditor) -> int:
    existing = {record.version for record in list_versions(held.tracking)}
    known = champions(held.entries)
    line = [version for version in known if version in existing and version != held.champion]
    if not line:
        raise NothingToMoveError(
            f"{held.tracking.name} had no champion before {held.champion}; "
            "`pitchpipe rollback --to N` goes to any version"
        )
    return line[-1]


def _drop_challenger(tracking: Tracking, version: int) -> None:
    with mlflow_errors():
        if aliases(tracking).get(CHALLENGER) == version:
            tracking.client.delete_registered_model_alias(tracking.name, CHALLENGER)


def _action(action: str, held: AliasEditor, judgement: Judgement) -> LedgerAction:
    """Ledger action for a gate decision; the decision is kept as evidence."""
    decision = judgement.decision
    plain = _plain(action, held, judgement.version, reasons=judgement.reasons)
    kept = {"verdict": decision.verdict, "evidence": keep_evidence(decision)}
    return plain.model_copy(update=kept)


def _plain(
    action: str, held: AliasEditor, version: int, *, reasons: tuple[str, ...]
) -> LedgerAction:
    return LedgerAction.model_validate(
        {
            "action": action,
            "name": held.tracking.name,
            "before": held.champion,
            "after": version,
            "reasons": reasons,
        }
    )


def _moved(entry: Entry) -> Moved:
    return _answer(entry, after=entry.after)


def _stayed(held: AliasEditor, entry: Entry) -> Moved:
    return _answer(entry, after=held.champion)


def _answer(entry: Entry, *, after: int | None) -> Moved:
    return Moved(
        action=entry.action,
        before=entry.before,
        after=after,
        verdict=entry.verdict,
        reasons=entry.reasons,
        ledger_entry=entry.digest,
    )


def _nothing(held: AliasEditor, why: str) -> Moved:
    return Moved(
        action="none",
        before=held.champion,
        after=held.champion,
        verdict=None,
        reasons=(why,),
        ledger_entry=None,
    )
