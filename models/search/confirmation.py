"""Confirmation of a search: its best configurations trained again with other seeds.

One seed's score is one draw: of many trials the first is first by luck as well. The search's own
seed chose the candidates, which flatters it, so that only the others are averaged; they are the
same for each candidate. The trial of the configured seed is served whichever seed came out best: no
seed is selected.
"""

import statistics
from collections.abc import Callable, Iterator, Sequence

from models.config.search import SearchParams
from models.config.trial import Objective
from models.record import Record
from models.search.proposals import Proposal, label_of
from models.trials import Outcome, Scores, TrialFailure

_SEEDS = 2**31
"""Seeds lie below."""


class Confirmed(Record):
    """A configuration that was trained again with other seeds."""

    key: str
    """Of the trial with the configured seed, which is served if this is selected."""
    differences: dict[str, str]
    """Axis -> value, for axes that distinguish it from the others."""
    mean: Scores | None
    """On validation, over the other seeds that succeeded; null: none did."""
    deviation: Scores | None
    """Standard deviation of each score over them (n - 1); null for fewer than two."""
    seeds: int
    """Other seeds that succeeded."""
    failed: int
    """Other seeds that failed."""

    def spread(self, by: Objective) -> str:
        """Return the mean of a score and its standard deviation: `0.9802 +- 0.0014`."""
        if self.mean is None:
            return "none succeeded"
        mean = f"{getattr(self.mean, by):.4f}"
        return mean if self.deviation is None else f"{mean} +- {getattr(self.deviation, by):.4f}"


def confirmation_trials(search: SearchParams, trials: int) -> int:
    """Return the number of trials that the confirmation of a search of so many takes."""
    confirm = search.confirm
    return 0 if confirm is None else min(confirm.top, trials) * confirm.seeds


def with_other_seeds(proposal: Proposal, seeds: int) -> Iterator[Proposal]:
    """Yield a trial with each of the seeds that follow its own; after the greatest comes 0."""
    for step in range(1, seeds + 1):
        seed = (proposal.config.seed + step) % _SEEDS
        config = proposal.config.model_copy(update={"seed": seed})
        yield Proposal(config, {**proposal.point, "seed": seed}, proposal.names)


def confirmed(key: str, differences: dict[str, str], outcomes: Sequence[Outcome]) -> Confirmed:
    """Average the outcomes of a configuration's other seeds; failed ones are counted."""
    scores = [one.scores for one in outcomes if not isinstance(one, TrialFailure)]
    return Confirmed(
        key=key,
        differences=differences,
        mean=_each(statistics.fmean, scores) if scores else None,
        deviation=_each(statistics.stdev, scores) if len(scores) > 1 else None,
        seeds=len(scores),
        failed=len(outcomes) - len(scores),
    )


def rank_confirmed(candidates: Sequence[Confirmed], by: Objective) -> tuple[Confirmed, ...]:
    """Order by the mean objective, best first.

    Whoever failed with more seeds comes later: a mean over those that went well is no mean. Ties go
    to the lower mean cross-entropy, then to the better one of the search. candidates: in its order.
    """

    def place(one: Confirmed) -> tuple[int, tuple[float, float]]:
        return one.failed, one.mean.badness(by) if one.mean else (float("inf"), float("inf"))

    return tuple(sorted(candidates, key=place))


def describe_confirmation(ranked: Sequence[Confirmed], by: Objective) -> str:
    """Say how the first of some configurations was selected, and which trial of it is served."""
    best = ranked[0]
    name = by.replace("f1_macro", "macro F1").replace("_", "-")
    text = (
        f"selected by the mean {name} over {best.seeds + best.failed} other seeds, best of "
        f"{len(ranked)}: {label_of(best.differences)}, {best.spread(by)} (n = {best.seeds})"
    )
    if len(ranked) > 1:
        text += f"; the next {ranked[1].spread(by)}"
    return f"{text}; the trial of the configured seed is served"


def _each(combine: Callable[[list[float]], float], scores: Sequence[Scores]) -> Scores:
    names = Scores.model_fields
    return Scores(**{name: combine([getattr(one, name) for one in scores]) for name in names})
