"""`pitchpipe gc`: lock, Prefect server, flow; apart from the flow, which imports Prefect."""

import os

from flows.records.retraining import Request
from flows.runtime.prefect_server import prefect_api, running_services
from flows.runtime.retraining_lock import only_retraining
from flows.tracking.store import open_tracking
from flows.upkeep.candidates import flow_runs, stored_candidates
from flows.upkeep.retention import Cleaning, remove

NO_SERVER = (
    "flow runs in Prefect are not listed, as no server of it runs; `pitchpipe up` starts one, and "
    "`pitchpipe gc` removes them in any case"
)


def clean(request: Request) -> Cleaning:
    """Remove what `retention:` of the params no longer keeps.

    Raises BusyError while a retraining runs here, TrackingError where MLflow cannot be asked.
    """
    request.params()
    with only_retraining(), prefect_api() as wait_for_api:
        from flows.runtime.prefect_records import run_recorded  # noqa: PLC0415 - imports Prefect
        from flows.upkeep.gc_flow import gc  # noqa: PLC0415 - imports Prefect

        wait_for_api()
        return run_recorded(lambda: gc(request, return_state=True))


def list_removable(request: Request) -> Cleaning:
    """List what `clean` would remove, without a flow and without a server of our own.

    Flow runs are listed where `up` or the user's server knows them; those that a dead process left
    open are not closed. Raises TrackingError where MLflow cannot be asked.
    """
    params = request.params()
    tracking = open_tracking(params.registered_name)
    stored = tuple(stored_candidates(tracking, params.retention))
    if running_services() is None and "PREFECT_API_URL" not in os.environ:
        listed = remove(stored, dry_run=True)
        return listed.model_copy(update={"note": NO_SERVER})
    with prefect_api() as wait_for_api:
        wait_for_api()
        from flows.runtime.prefect_records import (  # noqa: PLC0415 - imports Prefect
            delete_flow_run,
            ended_flow_runs,
        )

        ended = flow_runs(ended_flow_runs(), params.retention, delete=delete_flow_run)
        return remove((*stored, *ended), dry_run=True)
