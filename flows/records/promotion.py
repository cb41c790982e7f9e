"""Records of a promotion: the gate's decision, what was done about it, and the champion after it.

Each holds the one before it whole: GateDecision, Judgement, Promotion; a retraining's record holds
the Promotion. Light to import.
"""

from pydantic import JsonValue, ValidationError

from flows.records.ledger import EVIDENCE, Entry
from models.config import Record
from models.config.policies import NotifiedEvent, Verdict
from models.gate.records import GateDecision


def read_decision(evidence: str) -> GateDecision | None:
    """Read the decision that is kept under a digest; None where it is missing or unreadable."""
    try:
        return GateDecision.model_validate_json((EVIDENCE / f"{evidence}.json").read_bytes())
    except (OSError, ValidationError):
        return None


class Judgement(Record):
    """The gate's decision on a version."""

    version: int
    champion: int | None
    """Version that it was compared with; null: there was none."""
    decision: GateDecision


class Move(Record):
    """Result of a command that may move the champion."""

    entry: Entry | None = None
    """Of the ledger; null: there was nothing to do, and nothing was written."""
    after: int | None
    """Champion from then on."""
    note: str = ""
    """Why there was nothing to do."""

    @property
    def action(self) -> str:
        """As in the ledger; `none` where there was nothing to do."""
        return self.entry.action if self.entry else "none"

    @property
    def before(self) -> int | None:
        """Champion until then."""
        return self.entry.before if self.entry else self.after

    @property
    def verdict(self) -> Verdict | None:
        """The gate's, or a person's `reject`."""
        return self.entry.verdict if self.entry else None

    @property
    def reasons(self) -> tuple[str, ...]:
        """Those of the ledger's entry."""
        return self.entry.reasons if self.entry else (self.note,)


class Promotion(Record):
    """The verdict on a version that a retraining registered, and who is champion after it."""

    judgement: Judgement
    move: Move | None
    """Null: `--no-promote`, the champion was left alone."""

    @property
    def version(self) -> int:
        """The version that was registered and judged."""
        return self.judgement.version

    @property
    def verdict(self) -> Verdict:
        """The gate's."""
        return self.judgement.decision.verdict

    @property
    def reasons(self) -> tuple[str, ...]:
        """The gate's reasons; of the champion judged again, that it is the champion already."""
        return self.move.reasons if self.move else self.judgement.decision.reasons

    @property
    def reason(self) -> str:
        """The one to say first."""
        note = self.move.note if self.move else ""
        return note or self.judgement.decision.reason

    @property
    def champion(self) -> int | None:
        """Version in service now."""
        return self.move.after if self.move else self.judgement.champion

    @property
    def lead(self) -> float | None:
        """Accuracy less the champion's, on the same test images; null: nothing was compared."""
        comparison = self.judgement.decision.comparison
        return None if comparison is None else comparison.accuracy

    @property
    def awaits_approval(self) -> bool:
        """Whether the gate passed the version and `pitchpipe approve` is awaited."""
        return self.move is not None and self.move.action == "await"

    @property
    def outcome(self) -> str:
        """Outcome for the version, in words that follow its number, for people."""
        if self.champion == self.version:
            return "is the champion"
        if self.awaits_approval:
            return f"passed the gate and awaits `pitchpipe approve {self.version}`"
        return {
            "PROMOTE": f"passed the gate; `pitchpipe promote {self.version}` puts it into service",
            "HOLD": "is held",
            "REJECT": "is rejected",
        }[self.verdict]

    @property
    def event(self) -> NotifiedEvent:
        """Outcome for the version, as `notify.events` names it; await: a person has to act."""
        events: dict[Verdict, NotifiedEvent] = {"HOLD": "hold", "REJECT": "reject"}
        passed: NotifiedEvent = "promote" if self.champion == self.version else "await"
        return events.get(self.verdict, passed)

    def document(self) -> dict[str, JsonValue]:
        """Its keys in the JSON document of `run`."""
        return {
            "verdict": self.verdict,
            "reasons": list(self.reasons),
            "rules": [rule.model_dump() for rule in self.judgement.decision.rules],
            "version": self.version,
            "champion": self.champion,
            "awaits_approval": self.awaits_approval,
        }
