"""Forecast of a retraining, for `run --dry-run`: what it would train, and for how long."""

from pydantic import JsonValue

from flows.engines.opening import check_devices, check_engine, device_of, workers_for
from flows.records.looks import GateOutlook, gate_outlook
from flows.records.pace import estimate_pace
from flows.records.retraining import Request, Retraining, TrialCounts
from flows.retraining.data_worth import DataWorth, data_worth
from flows.retraining.decide import decide, last_of_name, new_data
from flows.retraining.starting import open_started_search
from models.config import Params, Record
from models.decision import Decision
from models.search.confirmation import confirmation_trials
from models.search.search_space import search_space
from models.search.strategies import proposer_of


class Forecast(Record):
    """What a retraining would do."""

    decision: Decision
    trials: TrialCounts
    """trained: would be trained; of a killed search this includes trials that were pruned."""
    labels: tuple[str, ...]
    """Of the trials that would be trained, as far as they are known."""
    later: int = 0
    """Trials that will be chosen by the outcomes of earlier ones."""
    epochs: int
    """Budget of each trial."""
    seconds: float | None
    """Estimated training time; null while the data is not prepared."""
    basis: str
    """What the estimate is based on."""
    gate: GateOutlook | None = None
    """What the test split can show; null: no champion, or the data is not prepared."""
    data: DataWorth | None = None
    """What new data is worth; null: there was no retraining, or the data is not prepared."""

    def document(self) -> dict[str, JsonValue]:
        """Return what `--json` prints: the keys of `run`, null for what did not run, and more."""
        return Retraining(decision=self.decision).document() | self.model_dump(mode="json")


def forecast_retraining(request: Request) -> Forecast:
    """Return what `run` would train and what is cached.

    Writes nothing but data/.digests.json, where hashes of unchanged batches are kept.
    """
    params = request.params()
    check_engine(request)
    check_devices(params, request)
    device = device_of(request)
    decision = decide(params, request)
    search = open_started_search(params, device, again=request.again)
    if search is None:
        return _before_prepare(params, decision)
    preview, pace = search.preview, estimate_pace(search.manifest)
    gate = gate_outlook(params.registered_name, search.manifest, params.gate)
    last = last_of_name(params.registered_name)
    worth = data_worth(params, search.manifest, new=new_data(last, params), gate=gate)
    to_train = len(preview.missing) + preview.later
    workers = workers_for(params, request, device)
    return Forecast(
        decision=decision,
        trials=TrialCounts(total=preview.total, trained=to_train, cached=preview.total - to_train),
        labels=tuple(trial.proposal.label for trial in preview.missing),
        later=preview.later,
        epochs=params.search.epochs,
        seconds=round(pace.seconds_per_epoch * preview.epochs_left / workers, 1),
        basis=pace.basis,
        gate=gate,
        data=worth if last else None,
    )


def _before_prepare(params: Params, decision: Decision) -> Forecast:
    total = len(search_space(params))
    total += confirmation_trials(params.search, total)
    labels = tuple(proposal.label for proposal in iter(proposer_of(params).propose, None))
    return Forecast(
        decision=decision,
        trials=TrialCounts(total=total, trained=total),
        labels=labels,
        later=total - len(labels),
        epochs=params.search.epochs,
        seconds=None,
        basis="not known: the data is not prepared for these params; `pitchpipe prepare` does it",
    )
