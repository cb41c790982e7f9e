"""The interface of search strategies: ask for the next job, tell its outcome."""

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Protocol

from models.search.proposals import Proposal
from models.trials import EpochRecord, Scores


def mean_scores(history: Sequence[EpochRecord]) -> Scores | None:
    """Return the mean of each validation score over the epochs; None where there are none."""
    if not history:
        return None
    return Scores(
        accuracy=fmean(record.validation_accuracy for record in history),
        f1_macro=fmean(record.validation_f1_macro for record in history),
        cross_entropy=fmean(record.validation_loss for record in history),
    )


@dataclass(frozen=True, slots=True)
class Job:
    """A trial of a search, to be trained up to an epoch budget."""

    number: int
    """Of the trial, in order of proposal, from 0."""
    proposal: Proposal
    budget: int
    """Epochs in total, earlier ones included."""
    rung: int | None = None
    """From 0; null without a pruner."""

    @property
    def label(self) -> str:
        """The proposal's label; with a pruner also the budget."""
        if self.rung is None:
            return self.proposal.label
        return f"{self.proposal.label}, to epoch {self.budget}"


class Strategy(Protocol):
    """Chooses jobs one at a time; the same calls in the same order give the same jobs."""

    def ask(self) -> Job | None:
        """Return the next job; None: an outcome must be told first, or the search is complete."""

    def tell(self, job: Job, scores: Scores | None, averages: Scores | None = None) -> None:
        """Take a job's validation scores, of the best epoch so far; None: the trial failed.

        averages: mean of each score over the epochs so far, as `mean_scores`; None: not known, and
        the scores stand for them.
        """


class Proposer(Protocol):
    """Source of a search's trials."""

    def propose(self, *, least: int = 1) -> Proposal | None:
        """Return the next trial; None: it must learn first, or all trials were proposed.

        least: epochs below which it will not be stopped, whatever its scores.
        """

    def learn(self, number: int, scores: Scores | None, *, budget: int) -> None:
        """Take the scores of the trial with this number after so many epochs; None: it failed.

        Once for each budget that it is trained to, the lowest first.
        """


class FixedProposer:
    """Proposes trials from a list."""

    def __init__(self, proposals: Sequence[Proposal]) -> None:
        self._remaining = iter(proposals)

    def propose(self, *, least: int = 1) -> Proposal | None:
        del least
        return next(self._remaining, None)

    def learn(self, number: int, scores: Scores | None, *, budget: int) -> None:
        """Do nothing."""
