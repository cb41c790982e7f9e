"""Audit: check the ledger's chain, its head as MLflow has it, and the champion's alias."""

from dataclasses import dataclass

from flows.records import ledger
from flows.records.ledger import Entry, evidence_problems, faults_against, place_problems
from flows.registry.promotion.aliases import HEAD_TAG, edit_aliases, seen_head
from flows.tracking.store import Tracking


@dataclass(frozen=True, slots=True)
class Audit:
    """The entries of the ledger, and what is wrong with them."""

    entries: tuple[Entry, ...]
    problems: tuple[str, ...]

    @property
    def valid(self) -> bool:
        """Whether nothing is wrong."""
        return not self.problems


def audit_ledger(tracking: Tracking) -> Audit:
    """Check the chain, the evidence, the head that MLflow was shown, and the champion's alias.

    A move that a crash interrupted is settled first, with an entry of its own.
    """
    with edit_aliases(tracking) as editor:
        found = ledger.read()
        problems = [*found.problems, *evidence_problems(found.entries), *place_problems()]
        head = seen_head(tracking)
        if head is not None:
            problems += faults_against(found, head)
        elif any(entry.action != "intent" for entry in found.of(tracking.name)):
            problems.append(
                f"{tracking.name} has no readable tag {HEAD_TAG} in MLflow, so a cut of the ledger "
                "could not be seen; the next promotion or rollback writes it again"
            )
        if editor.hand_moved:
            problems.append(editor.hand_moved)
    return Audit(entries=found.entries, problems=tuple(problems))
