"""Runs one retraining: takes the lock, decides, and starts Prefect's server and the flow."""

import time
from typing import cast

from flows.datasets.current import PREPARED, ensure_ingested, raw_version
from flows.engines.opening import check_devices, check_engine, device_of
from flows.records.retraining import Request, Retraining
from flows.retraining.decide import decide, record_no_retraining
from flows.retraining.notify import notifying_failure
from flows.retraining.notify_apprise import check_notify
from flows.retraining.starting import check_start, check_start_named, open_started_search
from flows.runtime.prefect_server import prefect_api
from flows.runtime.retraining_lock import only_retraining
from flows.search.tuning import search_result
from models.config import Params
from models.decision import Decision
from models.search.search_space import search_space

_LOCK_SECONDS = 5.0
"""To wait for the lock: `up`, just started, may hold it to close what a killed run left open."""


def run_retraining(request: Request) -> Retraining:
    """Retrain once if there is a reason to.

    Raises BusyError if another retraining runs here; NoTrialSucceededError if all trials failed.
    """
    began = time.monotonic()
    params = request.params()
    check_engine(request)
    check_devices(params, request)
    check_notify(params.notify)
    search_space(params)  # refuses an impossible combination before anything is started
    check_start_named(params)
    with only_retraining(wait_seconds=_LOCK_SECONDS) as died, notifying_failure(params):
        ensure_ingested(params.data)
        decision = decide(params, request)
        # The flow closes what a killed retraining left open in MLflow and Prefect.
        result = None if died else _without_flow(request, params, decision)
        if result is None:
            if decision.retrain:
                check_start(params)
            result = _run_flow(request)
    return result.model_copy(update={"seconds": round(time.monotonic() - began, 3)})


def _without_flow(request: Request, params: Params, decision: Decision) -> Retraining | None:
    """Return the result if nothing is to be trained; None: the flow must run."""
    if not decision.retrain:
        return record_no_retraining(decision, params)
    search = open_started_search(params, device_of(request)) if request.tune_only else None
    if search is None or search.preview.result is None:
        return None
    from flows.retraining.compare import with_comparison  # noqa: PLC0415 - imports scipy

    tuning = with_comparison(search.preview.result, PREPARED)
    return search_result(decision, tuning, raw_version(params.data.name))


def _run_flow(request: Request) -> Retraining:
    if request.engine == "processes":
        from flows.engines.local import warm_up  # noqa: PLC0415 - not needed to decide

        warm_up()
    with prefect_api() as wait_for_api:
        from flows.retrain import retrain  # noqa: PLC0415 - imports Prefect
        from flows.runtime.prefect_records import run_recorded  # noqa: PLC0415 - imports Prefect

        wait_for_api()
        # Prefect hands out what the returned state carries, not the state.
        return cast("Retraining", run_recorded(lambda: retrain(request, return_state=True)))
