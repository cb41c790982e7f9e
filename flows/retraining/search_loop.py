"""Runs a search: submits its missing trials to Prefect, and records their outcomes."""

import queue
from collections.abc import Callable
from typing import cast

from prefect.client.schemas.objects import State
from prefect.futures import PrefectFuture

from flows.datasets.current import manifest_of
from flows.records.trial_store import PrunedMarks, directory_of
from flows.registry.starting import place_start
from flows.retraining.session import Session
from flows.search.progress import Observers, SearchProgress
from flows.search.search import Search
from flows.search.state import SearchState
from flows.search.tuning import SearchTrial, Tuning
from models.search.strategy import Job
from models.trials import Outcome

Future = PrefectFuture[State[Outcome]]
Submit = Callable[..., Future]


def tune(session: Session, *, submit: Submit) -> Tuning:
    """Run the search of a retraining; return an outcome for each trial, failures included.

    submit: starts a task run that trains one job, as `flows.tasks.train.submit` does.
    """
    search = Search(
        session.params,
        manifest_of(session.dataset),
        session.device,
        again=session.request.again,
    )
    with SearchProgress(
        total=search.preview.total,
        epochs=search.preview.epochs_left,
        budget=session.params.search.epochs,
        objective=session.params.trial.objective,
    ) as progress:
        observers = Observers((progress, session.mirror, PrunedMarks()))
        state = search.start(observers)
        _Loop(state, session, progress, submit).run()
        tuning = state.close()
        confirmation = search.confirm(tuning, observers)
        if confirmation is None:
            return tuning
        _Loop(confirmation, session, progress, submit).run()
        return search.after(tuning, confirmation)


class _Loop:
    """Keeps as many jobs in training as there are workers, each in a Prefect task run."""

    def __init__(
        self, state: SearchState, session: Session, progress: SearchProgress, submit: Submit
    ) -> None:
        self._state, self._session, self._progress = state, session, progress
        self._observers = Observers((progress, session.mirror))
        self._submit_task = submit
        self._finished: queue.SimpleQueue[tuple[Job, SearchTrial, Future]] = queue.SimpleQueue()
        self._running = 0

    def run(self) -> None:
        """Return once no job is in training and the search has none, or reached a limit."""
        self._start_jobs()
        while self._running:
            job, trial, future = self._finished.get()
            self._running -= 1
            # Prefect hands out what the returned state carries, not the state.
            outcome = cast("Outcome", future.result())
            self._progress.pause(trial.key)
            self._state.record(job, outcome)
            self._start_jobs()

    def _start_jobs(self) -> None:
        # No more than there are workers: one that waits for a core would look as if it trained.
        while self._running < self._session.workers and (missing := self._state.next_missing()):
            self._submit(*missing)
            self._running += 1

    def _submit(self, job: Job, trial: SearchTrial) -> None:
        start = self._session.start
        if start is not None and trial.spec.config.begins_with is not None:
            place_start(start.file, directory_of(trial.key))
        work = self._session.job(trial.spec, budget=job.budget, label=job.label)
        future = self._submit_task(work, engine=self._session.engine, observers=self._observers)
        future.add_done_callback(lambda done: self._finished.put((job, trial, done)))
