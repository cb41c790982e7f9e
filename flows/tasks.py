"""Prefect tasks: their names and policies; the work itself is in flows.retraining."""

from prefect import task
from prefect.artifacts import create_markdown_artifact
from prefect.cache_policies import NO_CACHE
from prefect.client.schemas.objects import State
from prefect.states import Completed

from flows.datasets.current import DatasetVersion, prepare_dataset
from flows.engines.local import Engine
from flows.records.promotion import Promotion
from flows.retraining.baselines import with_baselines
from flows.retraining.compare import with_comparison
from flows.retraining.evaluate import Evaluated, evaluate_selected
from flows.retraining.prefect_artifacts import ignoring_artifact_errors, trial_markdown
from flows.retraining.promote import promote_if_better, register_selected
from flows.retraining.refit import refit_selected
from flows.retraining.session import Session
from flows.search.progress import Observers, format_scores
from flows.search.tuning import Tuning
from models.config import DataParams
from models.training.worker import TrialJob
from models.trials import Outcome, TrialFailure, TrialResult


@task(name="prepare data", task_run_name="prepare data", cache_policy=NO_CACHE)
def prepare_data(data: DataParams) -> DatasetVersion:
    """Bring data/prepared/ up to date with the batches and params, through DVC."""
    return prepare_dataset(data)


@task(name="train", task_run_name="{job.label}", cache_policy=NO_CACHE)
def train(job: TrialJob, *, engine: Engine, observers: Observers) -> State[Outcome]:
    """Train one trial; a failed trial is a completed task run that says why."""
    outcome = engine.train(job, lambda record: observers.epoch(job.spec.key, record))
    with ignoring_artifact_errors():
        create_markdown_artifact(trial_markdown(outcome), key="trial", description=job.label)
    if isinstance(outcome, TrialFailure):
        return Completed(name="Trial failed", message=outcome.reason, data=outcome)
    return Completed(message=format_scores(outcome.scores), data=outcome)


@task(name="baselines", task_run_name="baselines", cache_policy=NO_CACHE)
def compare_with_baselines(tuning: Tuning, session: Session) -> Tuning:
    """Score simple classifiers and the article's network on validation, beside the trials."""
    return with_baselines(tuning, session)


@task(name="refit", task_run_name="refit", cache_policy=NO_CACHE)
def refit(tuning: Tuning, session: Session) -> TrialResult:
    """Train the selected trial's config on train and validation together."""
    return refit_selected(tuning, session)


@task(name="compare trials", task_run_name="compare trials", cache_policy=NO_CACHE)
def compare_trials(tuning: Tuning, session: Session) -> Tuning:
    """Test the selected trial against the others on validation, and estimate its optimism."""
    compared = with_comparison(tuning, session.dataset.prepared)
    session.mirror.log_metrics(compared.metrics)
    return compared


@task(name="evaluate on test", task_run_name="evaluate on test", cache_policy=NO_CACHE)
def evaluate_on_test(tuning: Tuning, session: Session, refitted: TrialResult | None) -> Evaluated:
    """Score the selected trial or its refit once, on the test split, and write its report."""
    parent = session.start.parent if session.start else None
    return evaluate_selected(tuning, session.dataset, session.params, parent=parent, refit=refitted)


@task(name="register version", task_run_name="register version", cache_policy=NO_CACHE)
def register_version(evaluated: Evaluated, session: Session) -> int:
    """Register the selected network with its preprocessing and lineage; return the version."""
    return register_selected(evaluated, session.params, session)


@task(name="promote", task_run_name="promote", cache_policy=NO_CACHE)
def promote(version: int, evaluated: Evaluated, session: Session) -> Promotion:
    """Ask the gate about a version, and move the champion if it says so and the request allows."""
    return promote_if_better(version, evaluated, session, allowed=session.request.promote)
