"""Searches with a pruner: trials climb from rung to rung, and nobody waits for anybody."""

from collections.abc import Iterator, Sequence

from models.config.trial import Objective
from models.search.proposals import Proposal
from models.search.rungs import Ladder
from models.search.strategy import Job, Proposer
from models.trials import Scores


class Climbing:
    """Lets trials go on, a pure function of what was asked and told, in order."""

    def __init__(
        self, proposer: Proposer, ladders: Sequence[Ladder], turns: Iterator[int], *, by: Objective
    ) -> None:
        """turns: which ladder each new trial climbs; without end."""
        self._proposer, self._ladders, self._turns, self._by = proposer, ladders, turns, by
        self._trials: list[tuple[Proposal, Ladder]] = []
        self._pending = 0

    def ask(self) -> Job | None:
        """Let a trial go on if one may, else begin one.

        Once there are none left and all was told, the best trial goes on alone until one has the
        whole budget: few trials are never stopped all.
        """
        for ladder in self._ladders:
            if climber := ladder.next():
                return self._job(*climber)
        proposal = self._proposer.propose()
        if proposal is not None:
            self._trials.append((proposal, self._ladders[next(self._turns)]))
            return self._job(len(self._trials) - 1, 0)
        return None if self._pending else self._last()

    def tell(self, job: Job, scores: Scores | None) -> None:
        """Rank the trial at its rung; the proposer learns from the lowest, where all come."""
        assert job.rung is not None
        self._pending -= 1
        _, ladder = self._trials[job.number]
        ladder.rungs[job.rung].add(job.number, scores.badness(self._by) if scores else None)
        if job.rung == 0:
            self._proposer.learn(job.number, scores)

    def _last(self) -> Job | None:
        if any(ladder.climbed for ladder in self._ladders):
            return None
        climbers = (ladder.next_alone() for ladder in self._ladders)
        return next((self._job(*climber) for climber in climbers if climber), None)

    def _job(self, number: int, level: int) -> Job:
        self._pending += 1
        proposal, ladder = self._trials[number]
        return Job(
            number=number,
            proposal=proposal,
            budget=ladder.rungs[level].budget,
            final=level == len(ladder.rungs) - 1,
            rung=level,
        )
