"""Selection of the best trial by validation scores. Pure, total, without the test split."""

import math
from collections.abc import Sequence

from models.config.trial import Objective
from models.errors import PitchpipeError
from models.trials import Outcome, Scores, TrialFailure, TrialResult


class NoTrialSucceededError(PitchpipeError):
    """Every trial failed, or none was started."""


def rank(outcomes: Sequence[Outcome], by: Objective) -> tuple[TrialResult, ...]:
    """Order the successful trials by their validation scores, best first.

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
    if not outcomes:  # params refuse a max_epochs_total below the epochs of one trial
        raise NoTrialSucceededError(
            "no trial was run: search.max_seconds ended the search before its first trial; raise it"
        )
    reasons = sorted({outcome.reason for outcome in outcomes if isinstance(outcome, TrialFailure)})
    raise NoTrialSucceededError(
        f"none of {len(outcomes)} trials succeeded: {'; '.join(reasons)}; "
        "lower the learning rate or change the network, then run again"
    )


def _finite(scores: Scores) -> bool:
    return all(map(math.isfinite, (scores.accuracy, scores.f1_macro, scores.cross_entropy)))
