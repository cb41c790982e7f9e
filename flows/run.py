"""One retraining from the outside: lock, data, decision, what is known, servers, flow."""

import time
from typing import cast

from flows.datasets.current import ensure_ingested, raw_version
from flows.engines.opening import check_devices, check_engine, device_of
from flows.records.retraining import Request, Retraining
from flows.retraining.decide import decide, record_no_retraining
from flows.retraining.notify import notifying_failure
from flows.runtime.prefect_server import prefect_api
from flows.runtime.retraining_lock import only_retraining
from flows.search.planning import cached_search, search_result
from models.config import Params
from models.decision import Decision
from models.search.strategies import proposer_of

_UPKEEP_SECONDS = 5.0
"""For which `up`, which has just been started, may hold the lock to close what the dead left."""


def run_retraining(request: Request) -> Retraining:
    """Retrain once if there is a reason to.

    Raises BusyError where another retraining runs here; NoTrialSucceededError where all failed.
    """
    began = time.monotonic()
    params = request.params()
    check_engine(request)
    check_devices(params, request)
    proposer_of(params)  # an impossible combination is refused before anything is begun
    with only_retraining(wait_seconds=_UPKEEP_SECONDS) as died, notifying_failure(params):
        ensure_ingested(params.data)
        decision = decide(params, request)
        # What a killed one left open in MLflow and Prefect is for the flow to close.
        result = None if died else _without_flow(request, params, decision)
        if result is None:
            result = _run_flow(request)
    return result.model_copy(update={"seconds": round(time.monotonic() - began, 3)})


def _without_flow(request: Request, params: Params, decision: Decision) -> Retraining | None:
    """Nothing to do, or a search that the store answers whole; None where there is work."""
    if not decision.retrain:
        return record_no_retraining(decision, params)
    tuning = cached_search(params, device_of(request)) if request.tune_only else None
    return search_result(decision, tuning, raw_version(params.data.name)) if tuning else None


def _run_flow(request: Request) -> Retraining:
    if request.engine == "processes":
        from flows.engines.local import warm_up  # noqa: PLC0415 - a no-op needs none of these

        warm_up()
    with prefect_api() as wait_for_api:
        from flows.retrain import retrain  # noqa: PLC0415 - imports Prefect
        from flows.runtime.prefect_records import run_recorded  # noqa: PLC0415 - imports Prefect

        wait_for_api()
        # Prefect hands out what the returned state carries, not the state.
        return cast("Retraining", run_recorded(lambda: retrain(request, return_state=True)))
