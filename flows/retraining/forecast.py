"""What a retraining would do, and about how long it would take: `run --dry-run`."""

from dataclasses import dataclass
from statistics import median

from pydantic import JsonValue

from flows.datasets.current import PREPARED, prepared_is_current
from flows.engines.opening import check_devices, check_engine, device_of, workers_for
from flows.records.retraining import Request, Retraining, TrialCounts
from flows.records.trial_store import stored_trials
from flows.retraining.decide import decide
from flows.search.planning import epochs_left, preview_search
from models.config import Params, Record
from models.datasets.prepared import Manifest, read_manifest
from models.decision import Decision
from models.search.strategies import proposer_of
from models.trials import TrialResult

GUESSED_RATE = 1500.0
"""Images a second on one core, where nothing was trained yet: the article's CNN, minibatch 32.

Under half of what bench/training_rate.py finds on a quiet machine: one that is used has less."""


class Forecast(Record):
    """What a retraining would do."""

    decision: Decision
    trials: TrialCounts
    """trained: how many would be; of a search that was killed, also those its pruner stopped."""
    labels: tuple[str, ...]
    """Of the trials that would be trained, as far as they are certain."""
    later: int = 0
    """Trials that are chosen by what others come to."""
    epochs: int
    """Budget of each."""
    seconds: float | None
    """About how long training would take; null while the images are not counted."""
    basis: str
    """What the estimate rests on."""

    def document(self) -> dict[str, JsonValue]:
        """As `--json` prints it: the keys of `run`, null where nothing was run, and its own."""
        return Retraining(decision=self.decision).document() | self.model_dump(mode="json")


def forecast_retraining(request: Request) -> Forecast:
    """Say what `run` would train and what is cached.

    Nothing is written but data/.digests.json, where hashes of unchanged batches are remembered.
    """
    params = request.params()
    check_engine(request)
    check_devices(params, request)
    device = device_of(request)
    decision = decide(params, request)
    if not prepared_is_current(params.data):
        return _before_prepare(params, decision)
    manifest = read_manifest(PREPARED)
    plan = preview_search(params, manifest, device)
    missing = len(plan.missing) + plan.later
    pace = _pace(manifest)
    return Forecast(
        decision=decision,
        trials=TrialCounts(
            total=plan.total,
            trained=missing,
            cached=plan.total - missing,
        ),
        labels=tuple(trial.proposal.label for trial in plan.missing),
        later=plan.later,
        epochs=plan.budget,
        seconds=round(
            pace.seconds_an_epoch
            * epochs_left(params, plan)
            / workers_for(params, request, device),
            1,
        ),
        basis=pace.basis,
    )


def _before_prepare(params: Params, decision: Decision) -> Forecast:
    proposer = proposer_of(params)
    labels = tuple(proposal.label for proposal in iter(proposer.propose, None))
    return Forecast(
        decision=decision,
        trials=TrialCounts(total=proposer.total, trained=proposer.total),
        labels=labels,
        later=proposer.total - len(labels),
        epochs=params.search.epochs,
        seconds=None,
        basis="not known: the data is not prepared for these params; `pitchpipe prepare` does it",
    )


@dataclass(frozen=True, slots=True)
class _Pace:
    seconds_an_epoch: float
    basis: str


def _pace(manifest: Manifest) -> _Pace:
    """Seconds an epoch of this dataset takes on one worker."""
    measured = [
        trial.outcome.seconds / trial.outcome.epochs
        for trial in stored_trials()
        if isinstance(trial.outcome, TrialResult) and trial.spec.dataset == manifest.digest
    ]
    if measured:
        return _Pace(median(measured), f"the median of {len(measured)} trials on this dataset")
    images = manifest.splits["train"].images
    return _Pace(images / GUESSED_RATE, f"a guess: {GUESSED_RATE:.0f} images/s, none trained yet")
