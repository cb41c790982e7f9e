"""What a trial's history says: its best epoch, and whether it has stopped getting better.

Both are folds over history.jsonl, so an interrupted trial resumes them from the file.
"""

from collections.abc import Sequence

from models.config.trial import EarlyStoppingConfig, Objective
from models.trials import EpochRecord


def best_record(history: Sequence[EpochRecord], objective: Objective) -> EpochRecord:
    """Record of the best epoch; ties go to the lower cross-entropy, then to the earlier epoch.

    Raises ValueError for an empty history.
    """
    return min(history, key=lambda record: (record.scores.badness(objective), record.epoch))


def stopped_early(
    history: Sequence[EpochRecord], rule: EarlyStoppingConfig, objective: Objective
) -> bool:
    """Whether `patience` epochs went by without a gain of more than `min_delta`."""
    if rule.patience is None:
        return False
    reference, stale = float("-inf"), 0
    for record in history:
        value = record.scores.gain(objective)
        better = value > reference + rule.min_delta
        reference, stale = (value, 0) if better else (reference, stale + 1)
    return stale >= rule.patience
