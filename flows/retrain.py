"""The flow: prepare -> tune -> evaluate -> register -> promote."""

from uuid import UUID

from prefect import flow
from prefect.client.schemas.objects import State
from prefect.runtime import flow_run

from flows.datasets.current import ensure_ingested
from flows.records.retraining import Request, Retraining
from flows.retraining.conclude import conclude, with_verdict
from flows.retraining.decide import decide, fingerprint, record_no_retraining, recording_duration
from flows.retraining.prefect_artifacts import completed_state
from flows.retraining.search_loop import tune
from flows.retraining.session import open_session, reconcile_tracking
from flows.retraining.summary_markdown import local_minute
from flows.runtime.prefect_records import close_orphans, untagged
from flows.runtime.retraining_lock import only_retraining
from flows.search.tuning import search_result
from flows.tasks import (
    compare_trials,
    compare_with_baselines,
    evaluate_on_test,
    prepare_data,
    promote,
    refit,
    register_version,
    train,
)
from models.config import Params
from models.decision import Decision, Fingerprint


def _flow_run_name() -> str:
    request: Request = flow_run.parameters["request"]
    return f"{local_minute()} {request.params().data.name}, {request.trigger}"


@flow(name="retrain", flow_run_name=_flow_run_name)
def retrain(request: Request) -> State[Retraining]:
    """Retrain once if there is a reason to: prepare, tune, evaluate, register, promote."""
    params = request.params()
    with only_retraining(), untagged():
        ensure_ingested(params.data)
        close_orphans(except_for=UUID(str(flow_run.id)))
        inputs = fingerprint(params)
        decision = decide(params, request, now=inputs)
        if decision.retrain:
            return completed_state(_retrain(request, params, decision, inputs=inputs))
        reconcile_tracking(params)
        return completed_state(record_no_retraining(decision, params))


def _retrain(
    request: Request, params: Params, decision: Decision, *, inputs: Fingerprint
) -> Retraining:
    """Run the steps; inputs: what the result is compared with the next time."""
    dataset = prepare_data(params.data)
    with (
        recording_duration(request),
        open_session(params, request, dataset, flow_run=str(flow_run.id)) as session,
    ):
        tuning = tune(session, submit=train.submit)
        if params.search.baselines:
            tuning = compare_with_baselines(tuning, session)
        tuning = compare_trials(tuning, session)
        result = search_result(decision, tuning, dataset)
        if not request.tune_only:
            refitted = refit(tuning, session) if params.search.refit else None
            evaluated = evaluate_on_test(tuning, session, refitted)
            version = register_version(evaluated, session)
            promotion = promote(version, evaluated, session)
            result = with_verdict(result, evaluated, promotion)
        remembered = inputs if request.promote else None
        return conclude(result, session, params=params, fingerprint=remembered)
