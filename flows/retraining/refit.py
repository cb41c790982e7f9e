"""Refit the selected trial: the same config, trained on train and validation together."""

import logging

from flows.records.trial_store import directory_of
from flows.registry.starting import place_start
from flows.retraining.session import Session
from flows.search.tuning import Tuning
from models.errors import PitchpipeError
from models.trials import TrialFailure, TrialResult

log = logging.getLogger(__name__)


def refit_selected(tuning: Tuning, session: Session) -> TrialResult:
    """Train the selected trial's refit, where the store has none, and return its result.

    As many epochs as the selected trial was best after; with more images these are more steps.
    Raises PitchpipeError where it fails: nothing else is promoted instead.
    """
    selected, best = next(tuning.ranked())
    spec = selected.spec.model_copy(update={"refit": True})
    log.info("refit of trial %s: %d epochs on train and validation", best.key[:12], best.best_epoch)
    if session.start is not None and spec.config.begins_with is not None:
        place_start(session.start.file, directory_of(spec.key))
    outcome = session.train_alone(spec, budget=best.best_epoch, label="refit")
    if isinstance(outcome, TrialFailure):
        raise PitchpipeError(
            f"the refit of trial {best.key[:12]} failed ({outcome.reason}); run again, or with "
            "search.refit: false, which promotes the trial as it was selected"
        )
    return outcome
