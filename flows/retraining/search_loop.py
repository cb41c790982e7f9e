"""Runs a search, whatever its strategy: asks, has trained, tells what came of it."""

import queue
from collections.abc import Callable
from pathlib import Path
from typing import cast

from prefect.client.schemas.objects import State
from prefect.futures import PrefectFuture

from flows.datasets.current import DatasetVersion, manifest_of
from flows.engines.local import TrialJob
from flows.records.trial_store import PrunedMarks, directory_of
from flows.retraining.session import Workshop
from flows.search.plan import Tuning
from flows.search.planning import epochs_left, plan_search
from flows.search.progress import Observers, SearchProgress
from flows.search.search_state import Book, Entry, open_book
from models.config import Params
from models.search.strategy import Job
from models.trials import Outcome

Future = PrefectFuture[State[Outcome]]
Submit = Callable[..., Future]


def tune(params: Params, dataset: DatasetVersion, workshop: Workshop, *, submit: Submit) -> Tuning:
    """Run the search on a dataset; an outcome for each trial, failures included.

    submit: starts a task run that trains one job, as `flows.tasks.train.submit` does.
    """
    manifest = manifest_of(dataset)
    plan = plan_search(params, manifest, workshop.device)
    with SearchProgress(
        total=plan.total,
        epochs=epochs_left(params, plan),
        budget=plan.budget,
        objective=plan.objective,
    ) as progress:
        observers = Observers((progress, workshop.mirror, PrunedMarks()))
        book = open_book(params, manifest, workshop.device, observers=observers)
        _Loop(book, dataset.prepared, workshop, progress, submit).run()
        return book.close()


class _Loop:
    """Keeps as many jobs in training as there are workers, a Prefect task run each."""

    def __init__(
        self,
        book: Book,
        prepared: Path,
        workshop: Workshop,
        progress: SearchProgress,
        submit: Submit,
    ) -> None:
        self._book, self._prepared, self._workshop = book, prepared, workshop
        self._progress, self._submit_task = progress, submit
        self._observers = Observers((progress, workshop.mirror))
        self._ended: queue.SimpleQueue[tuple[Job, Entry, Future]] = queue.SimpleQueue()
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
            self._book.ended(job, outcome)
            self._begin_jobs()

    def _begin_jobs(self) -> None:
        # No more than there are workers: one that waits for a core would look as if it trained.
        while self._running < self._workshop.workers and (taken := self._book.next_missing()):
            self._submit(*taken)
            self._running += 1

    def _submit(self, job: Job, entry: Entry) -> None:
        work = TrialJob(
            spec=entry.spec,
            directory=directory_of(entry.key),
            prepared=self._prepared,
            budget=job.budget,
            label=job.label,
        )
        future = self._submit_task(work, engine=self._workshop.engine, observers=self._observers)
        future.add_done_callback(lambda done: self._ended.put((job, entry, done)))
