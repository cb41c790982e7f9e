"""Search with a pruner: trials advance from rung to rung, asynchronously."""

from collections.abc import Iterator, Sequence

from models.config.trial import Objective
from models.search.proposals import Proposal
from models.search.rungs import Bracket
from models.search.strategy import Job, Proposer
from models.trials import Scores


class PrunedSearch:
    """Strategy that advances trials; a pure function of what was asked and told, in order."""

    def __init__(
        self,
        proposer: Proposer,
        brackets: Sequence[Bracket],
        sequence: Iterator[int],
        *,
        by: Objective,
    ) -> None:
        """sequence: the bracket of trial 0, 1, ...; without end."""
        self._proposer, self._brackets, self._sequence = proposer, brackets, sequence
        self._by = by
        self._trials: list[tuple[Proposal, Bracket]] = []
        self._pending = 0

    def ask(self) -> Job | None:
        """Advance a trial if one may, else start one.

        If no trial is left and every outcome was told, the best trial advances until one has the
        full budget: a small search never stops all of its trials.
        """
        for bracket in self._brackets:
            if advanced := bracket.advance():
                return self._job(*advanced)
        proposal = self._proposer.propose()
        if proposal is not None:
            self._trials.append((proposal, self._brackets[next(self._sequence)]))
            return self._job(len(self._trials) - 1, 0)
        return None if self._pending else self._advance_best()

    def tell(self, job: Job, scores: Scores | None) -> None:
        """Rank the trial at its rung; the proposer learns scores at the lowest, which all reach."""
        assert job.rung is not None
        self._pending -= 1
        _, bracket = self._trials[job.number]
        bracket.rungs[job.rung].add(job.number, scores.badness(self._by) if scores else None)
        if job.rung == 0:
            self._proposer.learn(job.number, scores)

    def _advance_best(self) -> Job | None:
        if any(bracket.complete for bracket in self._brackets):
            return None
        candidates = (bracket.advance_best() for bracket in self._brackets)
        return next((self._job(*advanced) for advanced in candidates if advanced), None)

    def _job(self, number: int, level: int) -> Job:
        self._pending += 1
        proposal, bracket = self._trials[number]
        return Job(
            number=number,
            proposal=proposal,
            budget=bracket.rungs[level].budget,
            rung=level,
        )
