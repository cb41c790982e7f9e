"""The selected trial against the others: optimism of its score, and whom it is told apart from."""

import itertools
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from flows.records.trial_store import directory_of
from flows.search.predictions import validation_predictions
from flows.search.tuning import Comparison, Tuning
from models.config.trial import Objective
from models.evaluation.outcomes import Predictions
from models.evaluation.records import Distinction, FromBest
from models.evaluation.stored_predictions import read_predictions
from models.evaluation.uncertainty.optimism import estimate_optimism
from models.search.told_apart import tell_apart
from models.trials import TrialResult

MOST_TRIALS = 30
"""That predict validation, the best ones: once, then their predictions are in the store."""


def with_comparison(tuning: Tuning, prepared: Path) -> Tuning:
    """Compare the selected trial of a search with the other successful ones, pruned ones included.

    Of the 30 best trials those whose weights are there predict the first 10,000 validation images,
    in order of their digests: for each what the validation of one epoch takes, or less. The
    optimism is that of choosing the best score, and not estimated after a confirmation.
    prepared: folder of the arrays that they were trained on.
    """
    results = [result for _, result in tuning.ranked()]
    if len(results) < 2:
        return tuning
    known = validation_predictions(results[:MOST_TRIALS], prepared)
    from_best = _told_apart(results, known, tuning.objective)
    # After a confirmation the best score of a single trial did not decide.
    chosen = [] if tuning.confirmation else list(known.values())
    comparison = Comparison(
        optimism=estimate_optimism(chosen, tuning.objective),
        distinction=_distinction(results, known, from_best, tuning.objective),
        from_best=from_best,
    )
    return replace(tuning, comparison=comparison)


def told_apart_by_store(
    results: Iterable[TrialResult], objective: Objective
) -> dict[str, FromBest]:
    """Compare the first of some trials of one dataset with the others, by stored predictions.

    results: best first. Nothing is predicted: trials without stored predictions are left out.
    """
    best = list(itertools.islice(results, MOST_TRIALS))
    stored = {one.key: read_predictions(directory_of(one.key), one) for one in best}
    known = {key: found for key, found in stored.items() if found is not None}
    return _told_apart(best, known, objective)


def _told_apart(
    results: Sequence[TrialResult], known: Mapping[str, Predictions], objective: Objective
) -> dict[str, FromBest]:
    if not results or results[0].key not in known:
        return {}
    best = known[results[0].key]
    others = {
        key: found
        for key, found in known.items()
        if key != results[0].key and len(found.labels) == len(best.labels)
    }
    return tell_apart(best, others, objective)


def _distinction(
    results: Sequence[TrialResult],
    known: Mapping[str, Predictions],
    from_best: Mapping[str, FromBest],
    objective: Objective,
) -> Distinction | None:
    if not from_best:
        return None
    return Distinction(
        objective=objective,
        images=len(known[results[0].key].labels),
        others=len(results) - 1,
        tested=len(from_best),
        alike=sum(not one.distinguishable for one in from_best.values()),
    )
