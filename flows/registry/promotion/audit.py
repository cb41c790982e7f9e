"""The audit: the ledger against itself, against MLflow's memory of it, and against the alias."""

from dataclasses import dataclass

from flows.records import ledger
from flows.records.ledger import Entry, evidence_problems, faults_against
from flows.registry.promotion.aliases import HEAD_TAG, edit_aliases, seen_head
from flows.tracking.store import Tracking


@dataclass(frozen=True, slots=True)
class Audit:
    """What the ledger says, and whether it may be believed."""

    entries: tuple[Entry, ...]
    problems: tuple[str, ...]

    @property
    def valid(self) -> bool:
        """Whether nothing is wrong."""
        return not self.problems


def audit_ledger(tracking: Tracking) -> Audit:
    """Check the chain, the evidence, the head that MLflow was shown, and the champion's alias.

    What a crash left between alias and ledger is settled first, and stands in the ledger then.
    """
    with edit_aliases(tracking) as held:
        found = ledger.read()
        problems = [*found.problems, *evidence_problems(found.entries)]
        head = seen_head(tracking)
        if head is not None:
            problems += faults_against(found, head)
        elif any(entry.action != "intent" for entry in found.of(tracking.name)):
            problems.append(
                f"{tracking.name} has no readable tag {HEAD_TAG} in MLflow, so a cut of the ledger "
                "could not be seen; the next promotion or rollback writes it again"
            )
        if held.hand_moved:
            problems.append(held.hand_moved)
    return Audit(entries=found.entries, problems=tuple(problems))
