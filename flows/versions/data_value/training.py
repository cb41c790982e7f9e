"""Train the trials of a plan that the store lacks; killed anywhere, the next plan goes on."""

from concurrent.futures import ThreadPoolExecutor, as_completed

from flows.datasets.files import PREPARED
from flows.engines.local import stop_on_signals, warm_up
from flows.engines.opening import OpenEngine, open_engine
from flows.records.retraining import Request
from flows.records.trial_store import directory_of
from flows.search.progress import SearchProgress
from flows.versions.data_value.planning import Plan
from models.config import Params
from models.training.worker import TrialJob
from models.trials import Outcome, TrialSpec, read_history


def train_missing(plan: Plan, request: Request) -> dict[str, Outcome]:
    """Train what is missing, as many at once as there are workers; return key -> outcome of all.

    Progress is shown on standard error. Raises as the engine does; what was trained is kept.
    """
    found = {key: outcome for key, outcome in plan.outcomes.items() if outcome is not None}
    missing = {key: spec for key, spec in plan.specs.items() if key not in found}
    if not missing:
        return found
    warm_up()
    params = request.params()
    epochs = plan.subject.epochs
    left = sum(max(epochs - len(read_history(directory_of(key))), 0) for key in missing)
    progress = SearchProgress(
        total=len(plan.specs),
        epochs=left,
        budget=epochs,
        objective=plan.subject.config.objective,
    )
    with open_engine(params, request) as opened, progress, stop_on_signals(opened.engine):
        for key, outcome in found.items():
            progress.trial_started(plan.specs[key], {"data": plan.labels[key]}, cached=True)
            progress.trial_finished(outcome)
        return found | _Training(plan, params, opened, progress).of(missing)


class _Training:
    """Trials in training, each in a thread that waits for its child."""

    def __init__(
        self, plan: Plan, params: Params, opened: OpenEngine, progress: SearchProgress
    ) -> None:
        self._plan, self._params = plan, params
        self._opened, self._progress = opened, progress

    def of(self, specs: dict[str, TrialSpec]) -> dict[str, Outcome]:
        """Train them all; on any error the others are stopped."""
        with ThreadPoolExecutor(self._opened.workers) as pool:
            try:
                running = {pool.submit(self._train, key, spec): key for key, spec in specs.items()}
                return {running[done]: done.result() for done in as_completed(running)}
            except BaseException:
                self._opened.engine.stop()
                pool.shutdown(wait=False, cancel_futures=True)
                raise

    def _train(self, key: str, spec: TrialSpec) -> Outcome:
        label = self._plan.labels[key]
        self._progress.trial_started(spec, {"data": label}, cached=False)
        job = TrialJob(
            spec=spec,
            directory=directory_of(key),
            prepared=PREPARED,
            budget=self._plan.subject.epochs,
            label=label,
            timeout_minutes=self._params.search.trial_timeout_minutes,
        )
        outcome = self._opened.engine.train(job, lambda record: self._progress.epoch(key, record))
        self._progress.trial_finished(outcome)
        return outcome
