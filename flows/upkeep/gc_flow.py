"""Flow of `pitchpipe gc`."""

from collections.abc import Iterator
from functools import partial
from uuid import UUID

from prefect import flow
from prefect.runtime import flow_run

from flows.records.retraining import Request
from flows.runtime.prefect_records import close_orphans, delete_flow_run, ended_flow_runs
from flows.runtime.retraining_lock import only_retraining
from flows.tracking.reconcile import reconcile
from flows.tracking.store import open_tracking
from flows.upkeep.retention import (
    Candidate,
    Cleaning,
    RequiredRecords,
    drift_reports,
    leftovers,
    remove,
    retrainings,
    search_journals,
    shadow_images,
    trials,
    version_copies,
)
from models.config import RetentionParams
from models.retention import Stored, judge_by_age


@flow(name="gc", flow_run_name="gc, {request.trigger}")
def gc(request: Request, *, dry_run: bool = False) -> Cleaning:
    """Remove what `retention:` of the params no longer keeps and nothing requires.

    Flow runs whose process died are closed first.

    Raises BusyError while a retraining runs; TrackingError where MLflow cannot list the versions.
    """
    params = request.params()
    policy = params.retention
    with only_retraining():
        close_orphans(except_for=UUID(str(flow_run.id)))
        tracking = open_tracking(params.registered_name)
        reconcile(tracking)
        required = RequiredRecords.read(tracking)
        candidates = (
            *leftovers(),
            *trials(policy, required),
            *search_journals(policy),
            *version_copies(policy),
            *shadow_images(policy),
            *retrainings(tracking, policy, required),
            *drift_reports(tracking, policy),
            *flow_runs(policy),
        )
        return remove(candidates, dry_run=dry_run)


def flow_runs(policy: RetentionParams) -> Iterator[Candidate]:
    """Finished flow runs of this project in Prefect."""
    found = ended_flow_runs()
    stored = [Stored(name, days=days) for _, name, days in found]
    judged = judge_by_age(stored, policy.flow_runs_days)
    for (ended, _, _), one in zip(found, judged, strict=True):
        yield Candidate("flow run", one, partial(delete_flow_run, ended))
