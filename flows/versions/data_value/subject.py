"""Whose configuration is asked about: the champion's, a version's, a trial's, or the params'."""

from dataclasses import dataclass

from flows.records.trial_store import find_trial
from flows.registry.listing import aliases
from flows.registry.loading import VersionFiles, open_version
from flows.registry.records import CHAMPION
from flows.tracking.store import Tracking
from flows.versions.evaluate import names_trial
from models.config import Params, TrialConfig
from models.errors import ConfigError

OF_PARAMS = "params"


@dataclass(frozen=True, slots=True)
class Subject:
    """A configuration, and how long it is trained."""

    called: str
    config: TrialConfig
    epochs: int


def find_subject(tracking: Tracking, target: str | None, params: Params) -> Subject:
    """Look a configuration up.

    target: a version, an alias, a trial's key, `params`; None: the champion, else the params.
    Raises ConfigError where there is none, and for one that begins with a parent's weights.
    """
    subject = _find(tracking, target, params)
    if subject.config.asks_for_weights:
        raise ConfigError(
            f"{subject.called}: begins with a parent's weights (trial.start), which may have seen "
            "what a fraction leaves out: its curve would say nothing; name a trial with new "
            "weights, or `params`"
        )
    return subject


def _find(tracking: Tracking, target: str | None, params: Params) -> Subject:
    if target is None:
        target = CHAMPION if CHAMPION in aliases(tracking) else OF_PARAMS
    if target == OF_PARAMS:
        epochs = params.search.epochs
        return Subject("the params' trial", params.trial.for_epochs(epochs), epochs)
    if names_trial(tracking, target):
        trial = find_trial(target)
        epochs = trial.outcome.budget if trial.outcome else params.search.epochs
        return Subject(f"trial {trial.key[:12]}", trial.spec.config, epochs)
    return _of_version(open_version(tracking, target), params)


def _of_version(files: VersionFiles, params: Params) -> Subject:
    lineage = files.lineage
    epochs = lineage.result.budget
    if lineage.spec.refit:  # which is trained for the epochs after which its trial was best
        search = lineage.params.get("search")
        found = search.get("epochs") if isinstance(search, dict) else None
        epochs = found if isinstance(found, int) else params.search.epochs
    return Subject(f"version {files.record.version}", lineage.spec.config, epochs)
