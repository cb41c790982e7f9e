"""Prefect tasks: thin; policy in the decorator, work delegated."""

from prefect import task
from prefect.artifacts import create_markdown_artifact
from prefect.cache_policies import NO_CACHE
from prefect.client.schemas.objects import State
from prefect.states import Completed

from flows.datasets.current import DatasetVersion, prepare_dataset
from flows.engines.local import Engine, TrialJob
from flows.records.promotion import Promotion
from flows.retraining.evaluate import Evaluated, evaluate_selected
from flows.retraining.prefect_artifacts import ignoring_artifact_errors, trial_markdown
from flows.retraining.promote import promote_if_better, register_selected
from flows.retraining.session import Session
from flows.search.plan import Tuning
from flows.search.progress import Observers, format_scores
from models.config import DataParams, Params
from models.trials import Outcome, TrialFailure


@task(name="prepare data", task_run_name="prepare data", cache_policy=NO_CACHE)
def prepare_data(data: DataParams) -> DatasetVersion:
    """Bring data/prepared/ up to date with the batches and params, through DVC."""
    return prepare_dataset(data)


@task(name="train", task_run_name="{job.label}", cache_policy=NO_CACHE)
def train(job: TrialJob, *, engine: Engine, observers: Observers) -> State[Outcome]:
    """Have one trial trained; a failed trial is a completed task with its reason."""
    outcome = engine.train(job, lambda record: observers.epoch(job.spec.key, record))
    with ignoring_artifact_errors():
        create_markdown_artifact(trial_markdown(outcome), key="trial", description=job.label)
    if isinstance(outcome, TrialFailure):
        return Completed(name="Trial failed", message=outcome.reason, data=outcome)
    return Completed(message=format_scores(outcome.scores), data=outcome)


@task(name="evaluate on test", task_run_name="evaluate on test", cache_policy=NO_CACHE)
def evaluate_on_test(tuning: Tuning, dataset: DatasetVersion, params: Params) -> Evaluated:
    """Score the selected trial once, on the test split, and write its report."""
    return evaluate_selected(tuning, dataset, params)


@task(name="register version", task_run_name="register version", cache_policy=NO_CACHE)
def register_version(evaluated: Evaluated, params: Params, session: Session) -> int:
    """Register the selected network, its normalisation inside, with its lineage."""
    return register_selected(evaluated, params, session)


@task(name="promote", task_run_name="promote", cache_policy=NO_CACHE)
def promote(version: int, params: Params, session: Session, *, allowed: bool) -> Promotion:
    """Ask the gate, and move the champion where it says so."""
    return promote_if_better(version, params, session, allowed=allowed)
