"""Flow of `pitchpipe gc`."""

from uuid import UUID

from prefect import flow
from prefect.runtime import flow_run

from flows.records.retraining import Request
from flows.runtime.prefect_records import close_orphans, delete_flow_run, ended_flow_runs
from flows.runtime.retraining_lock import only_retraining
from flows.tracking.reconcile import reconcile
from flows.tracking.store import open_tracking
from flows.upkeep.candidates import flow_runs, stored_candidates
from flows.upkeep.retention import Cleaning, remove


@flow(name="gc", flow_run_name="gc, {request.trigger}")
def gc(request: Request) -> Cleaning:
    """Remove what `retention:` of the params no longer keeps and nothing requires.

    Flow runs whose process died are closed first.

    Raises BusyError while a retraining runs; TrackingError where MLflow cannot list the versions.
    """
    params = request.params()
    with only_retraining():
        close_orphans(except_for=UUID(str(flow_run.id)))
        tracking = open_tracking(params.registered_name)
        reconcile(tracking)
        stored = stored_candidates(tracking, params.retention)
        ended = flow_runs(ended_flow_runs(), params.retention, delete=delete_flow_run)
        return remove((*stored, *ended), dry_run=False)
