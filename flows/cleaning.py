"""One `gc` from the outside: lock, server, flow."""

from flows.prefect_api import prefect_api
from flows.requests import Request
from flows.retention import Cleaning
from flows.retraining_lock import only_retraining


def clean(request: Request, *, dry_run: bool) -> Cleaning:
    """Remove what the params' `retention:` no longer keeps; dry_run: only say what would go.

    Raises BusyError while a retraining runs here, TrackingError where MLflow cannot be asked.
    """
    request.params()
    with only_retraining(), prefect_api() as wait_for_api:
        from flows.recorded_flow import clean_and_record  # noqa: PLC0415 - imports Prefect

        wait_for_api()
        return clean_and_record(request, dry_run=dry_run)
