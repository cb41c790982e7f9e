"""How a retraining ends: one record for the caller, the terminal, MLflow and Prefect."""

from dataclasses import replace
from datetime import UTC, datetime

from flows.records.retraining import Retraining
from flows.retraining.decide import remember
from flows.retraining.evaluate import Evaluated
from flows.retraining.notify import outcome_message, send_notification
from flows.retraining.prefect_artifacts import ignoring_artifact_errors, publish
from flows.retraining.promote import Promotion
from flows.retraining.session import Session
from flows.retraining.summary_markdown import Links, retraining_note
from flows.runtime.prefect_server import mlflow_address, prefect_address
from models.config import Params
from models.config.policies import Verdict
from models.decision import Completed, Fingerprint
from models.trials import Scores


def with_verdict(result: Retraining, evaluated: Evaluated, promotion: Promotion) -> Retraining:
    """Add the test scores and what the gate made of them."""
    evaluation = evaluated.evaluation
    test = Scores(
        accuracy=evaluation.accuracy,
        f1_macro=evaluation.f1_macro,
        cross_entropy=evaluation.cross_entropy,
    )
    return result.model_copy(
        update={
            "verdict": promotion.verdict,
            "reasons": promotion.reasons,
            "version": promotion.version,
            "champion": promotion.champion,
            "awaits_approval": promotion.awaits_approval,
            "test": test,
            "report": str(evaluated.directory / "report.html"),
        }
    )


def conclude(
    result: Retraining, session: Session, *, params: Params, fingerprint: Fingerprint | None
) -> Retraining:
    """Close the mirror, remember a verdict, tell of it, and publish Prefect's artifacts.

    fingerprint: of what the retraining began with, so that what came meanwhile is a reason for
    the next one; None: not to be remembered, since the champion was left alone on request.
    """
    mirror = session.mirror
    mirror.flush(timeout=5)
    ended = result.model_copy(
        update={"mlflow_run": mirror.parent_run_id, "registered_name": session.tracking.name}
    )
    links = _links(ended, session)
    if links is not None:
        mirror.describe(retraining_note(ended, links))
    mirror.finish("FINISHED", verdict=result.verdict)
    if ended.verdict is not None:
        if fingerprint is not None:
            remember(_completed(ended, ended.verdict, fingerprint))
        send_notification(outcome_message(ended), params.notify)
    with ignoring_artifact_errors():
        publish(ended, links and replace(links, base=mlflow_address(), flow_run=None))
    return ended


def _links(ended: Retraining, session: Session) -> Links | None:
    """Links inside MLflow; None where it has not taken the run."""
    if ended.mlflow_run is None:
        return None
    runs = {entry.key: session.mirror.run_of(entry.key) for entry in ended.leaderboard}
    return Links(
        experiment_id=session.tracking.experiment_id,
        run=ended.mlflow_run,
        trials={key: run for key, run in runs.items() if run is not None},
        flow_run=f"{prefect_address()}/runs/flow-run/{session.flow_run}",
    )


def _completed(ended: Retraining, verdict: Verdict, fingerprint: Fingerprint) -> Completed:
    return Completed(
        fingerprint=fingerprint,
        finished=datetime.now(UTC),
        verdict=verdict,
        version=ended.version,
        champion=ended.champion,
        name=ended.registered_name,
        dataset=ended.dataset.name if ended.dataset else None,
    )
