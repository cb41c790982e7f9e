"""`pitchpipe gc`: lock, Prefect server, flow; apart from the flow, which imports Prefect."""

from flows.records.retraining import Request
from flows.runtime.prefect_server import prefect_api
from flows.runtime.retraining_lock import only_retraining
from flows.upkeep.retention import Cleaning


def clean(request: Request, *, dry_run: bool) -> Cleaning:
    """Remove what `retention:` of the params no longer keeps; dry_run: only list it.

    Raises BusyError while a retraining runs here, TrackingError where MLflow cannot be asked.
    """
    request.params()
    with only_retraining(), prefect_api() as wait_for_api:
        from flows.runtime.prefect_records import run_recorded  # noqa: PLC0415 - imports Prefect
        from flows.upkeep.gc_flow import gc  # noqa: PLC0415 - imports Prefect

        wait_for_api()
        return run_recorded(lambda: gc(request, dry_run=dry_run, return_state=True))
