"""The trial store in mlruns/trials/: a content-addressed directory for each trial."""

import json
import logging
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from pydantic import ValidationError

from models.config.trial import Objective
from models.errors import ConfigError
from models.files import write_text
from models.training.early_stopping import best_record
from models.trials import (
    EpochRecord,
    Outcome,
    Scores,
    TrialFailure,
    TrialFiles,
    TrialResult,
    TrialSpec,
    read_history,
    read_outcome,
    read_result,
    result_path,
)

log = logging.getLogger(__name__)

STORE = Path("mlruns/trials")
State = Literal["finished", "pruned", "failed", "unfinished"]
PRUNED = "pruned.json"
"""File in a trial's directory with the epochs after which a search stopped the trial."""


@dataclass(frozen=True, slots=True)
class StoredTrial:
    """Content of a trial's directory."""

    spec: TrialSpec
    key: str
    outcome: Outcome | None
    history: tuple[EpochRecord, ...]
    pruned: bool = False
    """Whether the search that trained it last stopped it before its whole budget."""

    @property
    def state(self) -> State:
        """finished, pruned, failed, or unfinished: being trained, or interrupted."""
        if self.outcome is None:
            return "unfinished"
        if isinstance(self.outcome, TrialFailure):
            return "failed"
        return "pruned" if self.pruned else "finished"


def directory_of(key: str, store: Path = STORE) -> Path:
    """Return the directory of the trial with this key."""
    return store / key


def cached(spec: TrialSpec, *, budget: int, limit_minutes: float | None = None) -> Outcome | None:
    """Return the outcome that makes training unnecessary: a result, or a failure that stands.

    limit_minutes: `search.trial_timeout_minutes` of whoever asks. Trials with failures that may not
    come again (killed, out of memory, an exception, a shorter limit) are trained again.
    """
    outcome = read_outcome(directory_of(spec.key), budget)
    if isinstance(outcome, TrialFailure) and not outcome.stands(limit_minutes):
        return None
    return outcome


@dataclass(frozen=True, slots=True)
class Answer:
    """Outcome of a trial for a budget of epochs, from the store."""

    outcome: Outcome
    """Of that budget, or of a larger one that the trial was trained to before."""
    scores: Scores | None
    """On validation, of the best epoch within the budget; null: the trial failed."""


def answer(
    spec: TrialSpec, *, budget: int, whole: int, by: Objective, limit_minutes: float | None = None
) -> Answer | None:
    """Return what makes training to a budget unnecessary, in a search of a whole budget.

    Where the trial was trained further before, its history has the scores at the budget. A trial
    trained beyond the whole budget does not count: the others were trained less.
    limit_minutes: as `cached` takes it.
    """
    outcome = cached(spec, budget=budget, limit_minutes=limit_minutes)
    if outcome is not None:
        return Answer(outcome, None if isinstance(outcome, TrialFailure) else outcome.scores)
    further = cached(spec, budget=whole, limit_minutes=limit_minutes)
    if not isinstance(further, TrialResult):
        further = _furthest(directory_of(spec.key), most=whole)
    if further is None or further.budget <= budget:
        return None
    history = read_history(directory_of(spec.key))[:budget]
    return Answer(further, best_record(history, by).scores) if len(history) == budget else None


def _furthest(directory: Path, *, most: int) -> TrialResult | None:
    """Return the result of the largest budget that is at most `most`."""
    kept = sorted(result_path(directory, most).parent.glob("*.json"))
    results = [result for path in kept if (result := read_result(path)) and result.budget <= most]
    return max(results, key=lambda result: result.budget, default=None)


def stored_trials(store: Path = STORE) -> Iterator[StoredTrial]:
    """Yield the trials of the store that this release can read, sorted by key."""
    for path in sorted(store.glob(f"*/{TrialFiles.SPEC}")):
        try:
            yield read_trial(path.parent)
        except ValidationError:  # of a release whose TrialConfig had other fields
            log.info("trial %s is of another release and is passed over", path.parent.name)


def read_trial(directory: Path) -> StoredTrial:
    """Read one trial's directory."""
    return StoredTrial(
        spec=TrialSpec.model_validate_json((directory / TrialFiles.SPEC).read_bytes()),
        key=directory.name,
        outcome=read_outcome(directory),
        history=read_history(directory),
        pruned=(directory / PRUNED).exists(),
    )


class PrunedMarks:
    """Marks in the store the trials that a search stopped; for people, nothing depends on it."""

    def trial_started(self, spec: TrialSpec, differences: dict[str, str], *, cached: bool) -> None:
        """Do nothing."""

    def epoch(self, key: str, record: EpochRecord) -> None:
        """Do nothing."""

    def trial_finished(self, outcome: Outcome, *, pruned: bool = False) -> None:
        """Write after how many epochs it was stopped, or remove an earlier mark."""
        mark = directory_of(outcome.key) / PRUNED
        if not pruned:
            mark.unlink(missing_ok=True)
        elif not mark.exists():
            write_text(mark, json.dumps({"budget": outcome.budget}) + "\n")


def find_trial(prefix: str, store: Path = STORE) -> StoredTrial:
    """Return the one trial whose key begins with prefix; raise ConfigError for none or several."""
    matches = _matches(prefix, store)
    if len(matches) == 1:
        return _readable(matches[0])
    if not matches:
        raise ConfigError(f"no trial's key begins with {prefix!r}; `pitchpipe trials` lists them")
    several = ", ".join(path.name[:12] for path in matches[:5])
    raise ConfigError(f"{prefix!r} begins {len(matches)} keys ({several}...): write more digits")


def begins_a_key(prefix: str, store: Path = STORE) -> bool:
    """Whether the key of any trial begins with prefix."""
    return bool(_matches(prefix, store))


def _matches(prefix: str, store: Path) -> list[Path]:
    trials = (path.parent for path in store.glob(f"*/{TrialFiles.SPEC}"))
    return sorted(path for path in trials if path.name.startswith(prefix))


def _readable(directory: Path) -> StoredTrial:
    try:
        return read_trial(directory)
    except ValidationError:
        raise ConfigError(
            f"trial {directory.name[:12]}: was written by another release, or is damaged; delete "
            f"{directory} to train it again"
        ) from None
