"""What every search answers: which trial to train next, and up to which epoch."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from models.search.proposals import Proposal
from models.trials import Scores


@dataclass(frozen=True, slots=True)
class Job:
    """A trial of a search to be trained up to a budget."""

    number: int
    """Of the trial, in the order they were proposed, from 0."""
    proposal: Proposal
    budget: int
    """Epochs in all, earlier ones included."""
    final: bool
    """Whether nothing can be asked of the trial after this."""
    rung: int | None = None
    """From 0; null where trials are never stopped."""

    @property
    def label(self) -> str:
        """What differs, and how far it is trained where that differs too."""
        if self.rung is None:
            return self.proposal.label
        return f"{self.proposal.label}, to epoch {self.budget}"


class Strategy(Protocol):
    """Chooses jobs one at a time; the same answers to the same questions, whoever trains."""

    def ask(self) -> Job | None:
        """Return a job to begin now; None: not before more is told, or none at all."""

    def tell(self, job: Job, scores: Scores | None) -> None:
        """Hear a job's validation scores, best epoch so far; None: the trial failed."""


class Proposer(Protocol):
    """Where trials come from."""

    @property
    def total(self) -> int:
        """How many trials there are, where all are asked for."""

    def propose(self) -> Proposal | None:
        """Return another trial; None: not before more is learned, or none at all."""

    def learn(self, number: int, scores: Scores | None) -> None:
        """Hear how the trial with this number did, once; None: it failed."""


class FixedProposer:
    """Proposes trials that were known beforehand."""

    def __init__(self, proposals: Sequence[Proposal]) -> None:
        self.total = len(proposals)
        self._left = iter(proposals)

    def propose(self) -> Proposal | None:
        return next(self._left, None)

    def learn(self, number: int, scores: Scores | None) -> None:
        """Learn nothing."""


class FullBudgetSearch:
    """Trains every trial to the whole budget."""

    def __init__(self, proposer: Proposer, *, epochs: int) -> None:
        self._proposer, self._epochs = proposer, epochs
        self._asked = 0

    def ask(self) -> Job | None:
        proposal = self._proposer.propose()
        if proposal is None:
            return None
        job = Job(number=self._asked, proposal=proposal, budget=self._epochs, final=True)
        self._asked += 1
        return job

    def tell(self, job: Job, scores: Scores | None) -> None:
        self._proposer.learn(job.number, scores)
