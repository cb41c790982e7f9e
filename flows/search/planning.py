"""A search before and after it is run: which trials are missing, and what all came to."""

from flows.datasets.current import PREPARED, DatasetVersion, RawVersion, prepared_is_current
from flows.records.retraining import BestTrial, DatasetName, Retraining
from flows.records.trial_store import answer, cached, directory_of
from flows.search.plan import Plan, PlannedTrial, SpecMaker, Tuning
from flows.search.progress import Observers
from flows.search.search_state import open_book
from models.config import Params
from models.datasets.prepared import Manifest, read_manifest
from models.decision import Decision
from models.search.strategies import first_budget, planned_epochs, proposer_of
from models.trials import Device, read_history


def plan_search(params: Params, manifest: Manifest, device: Device) -> Plan:
    """Say which trials a search on this dataset has, and look each up in the store.

    A search that learns is taken as far as the store can answer it.
    Raises ConfigError where a combination is impossible.
    """
    search, by = params.search, params.trial.objective
    specs = SpecMaker.on(manifest, device)
    proposer, trials = proposer_of(params), list[PlannedTrial]()
    while (proposal := proposer.propose()) is not None:
        spec = specs.spec(proposal.config)
        known = answer(spec, budget=first_budget(search), whole=search.epochs, by=by)
        if known is not None:
            proposer.learn(len(trials), known.scores)
        whole = cached(spec, budget=search.epochs)
        trials.append(PlannedTrial(proposal=proposal, spec=spec, key=spec.key, cached=whole))
    return Plan(
        trials=tuple(trials),
        budget=search.epochs,
        objective=by,
        later=proposer.total - len(trials),
    )


def epochs_left(params: Params, plan: Plan) -> int:
    """Epochs that missing trials are expected to take yet, without those they have behind them."""
    planned = planned_epochs(params, len(plan.missing) + plan.later)
    return max(0, planned - sum(_epochs_done(trial, plan.budget) for trial in plan.missing))


def _epochs_done(trial: PlannedTrial, budget: int) -> int:
    epochs = len(read_history(directory_of(trial.key)))
    return epochs if epochs <= budget else 0  # one that went beyond is trained to it anew


def foreseen(params: Params, manifest: Manifest, device: Device) -> Plan:
    """As `plan_search`; of a search with a pruner or a budget that ended, the trials it begun."""
    tuning = _recalled(params, manifest, device) if _decides_its_end(params) else None
    return tuning.plan if tuning else plan_search(params, manifest, device)


def known_tuning(params: Params, device: Device) -> Tuning | None:
    """Return a search that the store answers whole, its data being as it was; None: it must run.

    Needs neither Prefect nor MLflow, and torch for a Gaussian process alone.
    """
    if not prepared_is_current(params.data):
        return None
    manifest = read_manifest(PREPARED)
    if _decides_its_end(params):
        return _recalled(params, manifest, device)
    plan = plan_search(params, manifest, device)
    outcomes = tuple(trial.cached for trial in plan.trials if trial.cached is not None)
    return Tuning(plan, outcomes) if len(outcomes) == plan.total else None


def _decides_its_end(params: Params) -> bool:
    return params.search.pruner != "none" or params.search.max_epochs_total is not None


def _recalled(params: Params, manifest: Manifest, device: Device) -> Tuning | None:
    """Go through a search by its journal and the store, writing nothing; None: it is to go on."""
    search = params.search.model_copy(update={"max_seconds": None})  # it ends for a better reason
    endless = params.model_copy(update={"search": search})
    book = open_book(endless, manifest, device, observers=Observers(()), writes=False)
    return book.close() if book.next_missing() is None else None


def searched(
    decision: Decision, tuning: Tuning, dataset: DatasetVersion | RawVersion
) -> Retraining:
    """What is known after the search; raises NoTrialSucceededError where no trial did."""
    best = tuning.best
    return Retraining(
        decision=decision,
        trials=tuning.counts,
        not_begun=tuning.not_begun,
        best=BestTrial(key=best.key, config=best.config, scores=best.scores),
        dataset=DatasetName(name=dataset.name, digest=dataset.digest),
        leaderboard=tuning.leaderboard,
    )
