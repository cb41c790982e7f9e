"""Runs a search, whatever its strategy: asks, has trained, tells what came of it."""

import queue
from collections.abc import Callable
from pathlib import Path
from typing import cast

from prefect.client.schemas.objects import State
from prefect.futures import PrefectFuture

from flows.datasets.current import DatasetVersion, manifest_of
from flows.records.trial_store import PrunedMarks, directory_of
from flows.retraining.session import Session
from flows.search.plan import Tuning
from flows.search.planning import epochs_left, plan_search
from flows.search.progress import Observers, SearchProgress
from flows.search.search_state import SearchEntry, SearchState, open_search
from models.config import Params
from models.search.strategy import Job
from models.training.worker import TrialJob
from models.trials import Outcome

Future = PrefectFuture[State[Outcome]]
Submit = Callable[..., Future]


def tune(params: Params, dataset: DatasetVersion, session: Session, *, submit: Submit) -> Tuning:
    """Run the search on a dataset; an outcome for each trial, failures included.

    submit: starts a task run that trains one job, as `flows.tasks.train.submit` does.
    """
    manifest = manifest_of(dataset)
    plan = plan_search(params, manifest, session.device)
    with SearchProgress(
        total=plan.total,
        epochs=epochs_left(params, plan),
        budget=plan.budget,
        objective=plan.objective,
    ) as progress:
        observers = Observers((progress, session.mirror, PrunedMarks()))
        state = open_search(params, manifest, session.device, observers=observers)
        _Loop(state, dataset.prepared, session, progress, submit).run()
        return state.close()


class _Loop:
    """Keeps as many jobs in training as there are workers, a Prefect task run each."""

    def __init__(
        self,
        state: SearchState,
        prepared: Path,
        session: Session,
        progress: SearchProgress,
        submit: Submit,
    ) -> None:
        self._state, self._prepared, self._session = state, prepared, session
        self._progress, self._submit_task = progress, submit
        self._observers = Observers((progress, session.mirror))
        self._ended: queue.SimpleQueue[tuple[Job, SearchEntry, Future]] = queue.SimpleQueue()
        self._running = 0

    def run(self) -> None:
        """Return once nothing trains and the search asks for nothing, or its limits are reached."""
        self._begin_jobs()
        while self._running:
            job, entry, future = self._ended.get()
            self._running -= 1
            # Prefect hands out what the returned state carries, not the state.
            outcome = cast("Outcome", future.result())
            self._progress.rest(entry.key)
            self._state.ended(job, outcome)
            self._begin_jobs()

    def _begin_jobs(self) -> None:
        # No more than there are workers: one that waits for a core would look as if it trained.
        while self._running < self._session.workers and (taken := self._state.next_missing()):
            self._submit(*taken)
            self._running += 1

    def _submit(self, job: Job, entry: SearchEntry) -> None:
        work = TrialJob(
            spec=entry.spec,
            directory=directory_of(entry.key),
            prepared=self._prepared,
            budget=job.budget,
            label=job.label,
        )
        future = self._submit_task(work, engine=self._session.engine, observers=self._observers)
        future.add_done_callback(lambda done: self._ended.put((job, entry, done)))
