"""End a retraining: close its mirror, remember and report its result."""

from dataclasses import replace
from datetime import UTC, datetime

from flows.records.promotion import Promotion
from flows.records.retraining import Retraining
from flows.retraining.decide import remember
from flows.retraining.evaluate import Evaluated
from flows.retraining.notify import outcome_message, send_notification
from flows.retraining.prefect_artifacts import ignoring_artifact_errors, publish
from flows.retraining.session import Session
from flows.retraining.starting import forget_beginning
from flows.retraining.summary_markdown import Links, retraining_note
from flows.runtime.prefect_server import mlflow_address, prefect_address
from flows.tracking.experiment import LEAD
from models.config import Params
from models.decision import Completed, Fingerprint


def with_verdict(result: Retraining, evaluated: Evaluated, promotion: Promotion) -> Retraining:
    """Add the test scores and the verdict to the result of a search."""
    report = str(evaluated.directory / "report.html")
    test = evaluated.evaluation.scores
    refit = result.best is not None and result.best.key != evaluated.result.key
    return result.model_copy(
        update={
            "promotion": promotion,
            "test": test,
            "refit": refit,
            "report": report,
        }
    )


def conclude(
    result: Retraining, session: Session, *, params: Params, fingerprint: Fingerprint | None
) -> Retraining:
    """Close the mirror, remember and notify of a verdict, and publish Prefect's artifacts.

    fingerprint: at the retraining's start, so that whatever changed since is a reason for the next
    one; None: it is not remembered, since the champion was left alone on request.
    """
    mirror = session.mirror
    mirror.flush(timeout=5)
    ended = result.model_copy(
        update={"mlflow_run": mirror.parent_run_id, "registered_name": session.tracking.name}
    )
    links = _links(ended, session)
    if links is not None:
        mirror.describe(retraining_note(ended, links))
    promotion = ended.promotion
    if promotion is not None:
        _show_standing(promotion, session)
    mirror.finish("FINISHED", verdict=promotion.verdict if promotion else None)
    if promotion is not None:
        if fingerprint is not None:
            remember(_completed(ended, promotion, fingerprint))
        forget_beginning()
        send_notification(outcome_message(ended), params.notify)
    with ignoring_artifact_errors():
        publish(ended, links and replace(links, base=mlflow_address(), flow_run=None))
    return ended


def _show_standing(promotion: Promotion, session: Session) -> None:
    """Tell MLflow what its page of retrainings has columns for: who serves now, by what lead."""
    tags = {"version": promotion.version, "champion": promotion.champion}
    session.mirror.tag({key: str(value) for key, value in tags.items() if value is not None})
    if promotion.lead is not None:
        session.mirror.log_metrics({LEAD: promotion.lead})


def _links(ended: Retraining, session: Session) -> Links | None:
    """Links inside MLflow; None where MLflow does not have the run yet."""
    if ended.mlflow_run is None:
        return None
    runs = {entry.key: session.mirror.run_of(entry.key) for entry in ended.leaderboard}
    return Links(
        experiment_id=session.tracking.experiment_id,
        run=ended.mlflow_run,
        trials={key: run for key, run in runs.items() if run is not None},
        flow_run=f"{prefect_address()}/runs/flow-run/{session.flow_run}",
    )


def _completed(ended: Retraining, promotion: Promotion, fingerprint: Fingerprint) -> Completed:
    return Completed(
        fingerprint=fingerprint,
        finished=datetime.now(UTC),
        verdict=promotion.verdict,
        version=promotion.version,
        champion=promotion.champion,
        name=ended.registered_name,
        dataset=ended.dataset.name if ended.dataset else None,
        weights=ended.best.weights if ended.best else None,
    )
