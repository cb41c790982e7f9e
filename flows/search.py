"""Runs a search: what the store lacks is trained, a Prefect task run a trial."""

import threading
from pathlib import Path
from typing import cast

from prefect.client.schemas.objects import State
from prefect.futures import PrefectFuture

from flows.dataset_version import DatasetVersion
from flows.engine import TrialJob
from flows.observers import Observers
from flows.progress import SearchProgress
from flows.tasks import train
from flows.trial_store import directory_of
from flows.tuning import Plan, PlannedTrial, Tuning, plan_search
from flows.workshop import Workshop
from models.config import Params
from models.datasets.prepared import read_manifest
from models.trials import Outcome


def tune(params: Params, dataset: DatasetVersion, workshop: Workshop) -> Tuning:
    """Run the search on a dataset; an outcome for each trial, failures included."""
    plan = plan_search(params, read_manifest(dataset.prepared))
    with SearchProgress(
        total=len(plan.trials),
        missing=len(plan.missing),
        budget=plan.budget,
        objective=plan.objective,
    ) as progress:
        observers = Observers((progress, workshop.mirror))
        _tell_cached(plan, observers)
        trained = _train_missing(plan, dataset.prepared, workshop, observers)
    outcomes = tuple(trial.cached or trained[trial.key] for trial in plan.trials)
    return Tuning(plan=plan, outcomes=outcomes)


def _tell_cached(plan: Plan, observers: Observers) -> None:
    for trial in plan.trials:
        if trial.cached is not None:
            observers.trial_started(trial.spec, trial.proposal.differences, cached=True)
            observers.trial_finished(trial.cached)


def _train_missing(
    plan: Plan, prepared: Path, workshop: Workshop, observers: Observers
) -> dict[str, Outcome]:
    slots = threading.Semaphore(workshop.workers)
    futures: dict[str, PrefectFuture[State[Outcome]]] = {}
    for trial in plan.missing:
        slots.acquire()  # a task run that only waits for a core would look as if it trained
        future = _submit(trial, plan.budget, prepared, workshop, observers)
        future.add_done_callback(lambda _: slots.release())
        futures[trial.key] = future
    # Prefect hands out what the returned state carries, not the state.
    return {key: cast("Outcome", future.result()) for key, future in futures.items()}


def _submit(
    trial: PlannedTrial, budget: int, prepared: Path, workshop: Workshop, observers: Observers
) -> PrefectFuture[State[Outcome]]:
    job = TrialJob(
        spec=trial.spec,
        directory=directory_of(trial.key),
        prepared=prepared,
        budget=budget,
        label=trial.proposal.label,
    )
    return train.submit(
        job, differences=trial.proposal.differences, engine=workshop.engine, observers=observers
    )
