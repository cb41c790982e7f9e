"""The flow: prepare -> tune -> evaluate -> register -> promote."""

from uuid import UUID

from prefect import flow
from prefect.client.schemas.objects import State
from prefect.runtime import flow_run

from flows.datasets.current import ensure_ingested
from flows.records.retraining import Request, Retraining
from flows.retraining.conclude import conclude, judged
from flows.retraining.decide import accounted, decide, fingerprint, nothing_to_do
from flows.retraining.prefect_artifacts import completed
from flows.retraining.search_loop import tune
from flows.retraining.session import close_left_runs, open_workshop
from flows.retraining.summary_markdown import local_minute
from flows.runtime.prefect_records import close_orphans, untagged
from flows.runtime.retraining_lock import only_retraining
from flows.search.planning import searched
from flows.tasks import evaluate_on_test, prepare_data, promote, register_version, train


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
        now = fingerprint(params)
        decision = decide(params, request, now=now)
        if not decision.retrain:
            close_left_runs(params)
            return completed(nothing_to_do(decision, params))
        dataset = prepare_data(params.data)
        with (
            accounted(request),
            open_workshop(params, request, dataset, flow_run=str(flow_run.id)) as workshop,
        ):
            tuning = tune(params, dataset, workshop, submit=train.submit)
            result = searched(decision, tuning, dataset)
            if not request.tune_only:
                evaluated = evaluate_on_test(tuning, dataset, params)
                version = register_version(evaluated, params, workshop)
                promotion = promote(version, params, workshop, allowed=request.promote)
                result = judged(result, evaluated, promotion)
            concluded = now if request.promote else None
            return completed(conclude(result, workshop, params=params, fingerprint=concluded))
