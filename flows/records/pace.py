"""How long training takes here, by the trials in the store."""

from dataclasses import dataclass
from statistics import median

from flows.records.trial_store import StoredTrial, stored_trials
from models.config import NetworkConfig
from models.datasets.prepared import Manifest
from models.errors import quantity
from models.trials import TrialResult

GUESSED_RATE = 1500.0
"""Images a second on one core, assumed while nothing was trained: the article's CNN, minibatch 32.

Less than half of what bench/training_rate.py measures on an idle machine, as most are busy."""


@dataclass(frozen=True, slots=True)
class Pace:
    """An estimate of how long an epoch takes on one worker."""

    seconds_per_epoch: float
    basis: str
    """In words."""


def estimate_pace(manifest: Manifest, network: NetworkConfig | None = None) -> Pace:
    """Estimate the seconds of an epoch of a dataset on one worker.

    network: trials of this network count alone, where there are any. A trial on fewer images takes
    as many steps, and counts like any other.
    """
    found = [one for one in stored_trials() if one.spec.dataset == manifest.digest]
    same = [one for one in found if one.spec.config.network == network]
    for trials, which in ((same, "of this network"), (found, "on this dataset")):
        if seconds := [second for one in trials for second in _seconds(one)]:
            return Pace(median(seconds), f"the median of {quantity(len(seconds), 'trial')} {which}")
    images = manifest.splits["train"].images
    return Pace(images / GUESSED_RATE, f"a guess: {GUESSED_RATE:.0f} images/s, none trained yet")


def _seconds(trial: StoredTrial) -> list[float]:
    """Seconds of an epoch; none of a trial without a result."""
    outcome = trial.outcome
    return [outcome.seconds / outcome.epochs] if isinstance(outcome, TrialResult) else []
