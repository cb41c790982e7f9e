"""Which trial is best: pure, total, and blind to the test split."""

import math
from collections.abc import Sequence

from models.config.trial import Objective
from models.errors import PitchpipeError
from models.trials import Outcome, Scores, TrialFailure, TrialResult


class NoTrialSucceededError(PitchpipeError):
    """Every trial failed, or none was begun."""


def rank(outcomes: Sequence[Outcome], by: Objective) -> tuple[TrialResult, ...]:
    """Order the successful trials, best first, by their validation scores.

    Ties in the objective go to the lower cross-entropy, then to the earlier trial. Failures and
    scores that are not finite are left out.
    """
    results = [
        outcome
        for outcome in outcomes
        if isinstance(outcome, TrialResult) and _finite(outcome.scores)
    ]
    return tuple(sorted(results, key=lambda result: result.scores.badness(by)))


def select_best(outcomes: Sequence[Outcome], by: Objective) -> TrialResult:
    """Return the best trial by `rank`; raise NoTrialSucceededError with the reasons if none."""
    ranked = rank(outcomes, by)
    if ranked:
        return ranked[0]
    if not outcomes:  # a budget of epochs that holds no trial is refused with the params
        raise NoTrialSucceededError(
            "no trial was run: search.max_seconds ended the search before its first trial; raise it"
        )
    reasons = sorted({outcome.reason for outcome in outcomes if isinstance(outcome, TrialFailure)})
    raise NoTrialSucceededError(
        f"none of {len(outcomes)} trials succeeded: {'; '.join(reasons)}; "
        "lower the learning rate or mend the network, then run again"
    )


def _finite(scores: Scores) -> bool:
    return all(map(math.isfinite, (scores.accuracy, scores.f1_macro, scores.cross_entropy)))
