"""All that `gc` may remove, in the order of removal; light to import, as Prefect is not here."""

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from uuid import UUID

from flows.tracking.store import Tracking
from flows.upkeep.analyses import analyses
from flows.upkeep.retention import (
    Candidate,
    RequiredRecords,
    drift_reports,
    leftovers,
    retrainings,
    search_journals,
    shadow_images,
    trials,
    version_copies,
)
from models.config import RetentionParams
from models.retention import Stored, judge_by_age


def stored_candidates(tracking: Tracking, policy: RetentionParams) -> Iterator[Candidate]:
    """What lies in the project's folders and in MLflow. Raises TrackingError."""
    required = RequiredRecords.read(tracking)
    yield from leftovers()
    yield from trials(policy, required)
    yield from search_journals(policy)
    yield from version_copies(policy)
    yield from shadow_images(policy)
    yield from analyses(policy)
    yield from retrainings(tracking, policy, required)
    yield from drift_reports(tracking, policy)


def flow_runs(
    ended: Sequence[tuple[UUID, str, float]],
    policy: RetentionParams,
    *,
    delete: Callable[[UUID], None],
) -> Iterator[Candidate]:
    """Finished flow runs of this project in Prefect: id, name, days since the end."""
    stored = [Stored(name, days=days) for _, name, days in ended]
    judged = judge_by_age(stored, policy.flow_runs_days)
    for (flow_run, _, _), one in zip(ended, judged, strict=True):
        yield Candidate("flow run", one, partial(delete, flow_run))
