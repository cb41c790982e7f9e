"""Correction of Prefect's records: flow runs whose process died are closed, old ones deleted."""

import contextlib
import itertools
import os
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime
from typing import TypeVar
from uuid import UUID

from prefect import tags
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.filters import (
    ArtifactFilter,
    ArtifactFilterFlowRunId,
    FlowRunFilter,
    FlowRunFilterExpectedStartTime,
    FlowRunFilterId,
    FlowRunFilterState,
    FlowRunFilterStateType,
    FlowRunFilterTags,
)
from prefect.client.schemas.objects import TERMINAL_STATES, FlowRun, State, StateType
from prefect.context import TagsContext
from prefect.exceptions import ObjectNotFound
from prefect.logging.handlers import APILogHandler
from prefect.settings import (
    PREFECT_API_AUTH_STRING,
    PREFECT_API_URL,
    PREFECT_FLOWS_HEARTBEAT_FREQUENCY,
    temporary_settings,
)
from prefect.states import Crashed

from flows.runtime.environment import project_identity
from flows.runtime.prefect_server import wait_until_recorded

T = TypeVar("T")

_OPEN = [StateType.RUNNING, StateType.PENDING, StateType.CANCELLING]
_PAGE = 200
"""Records that Prefect returns at a time."""


def project_tag() -> str:
    """Return the tag of this project's flow runs on a server that several projects may share."""
    return f"pitchpipe-{project_identity()[:12]}"


def untagged() -> TagsContext:
    """Create task runs without tags while inside; they can be found by those of the flow run.

    For each task run with tags Prefect asks its server for limits of these tags, which takes up to
    2 s: 8 trials of 5 s on two workers took 26.5 s with them, and 21.9 s without (bench/grid.py).
    """
    return TagsContext(current_tags=set())


def close_orphans(*, except_for: UUID | None, begun_before: datetime | None = None) -> int:
    """Mark the open flow runs of this project as crashed; return their number.

    The caller holds the retraining lock: the process of every other open run is dead, or has yet to
    take the lock. This also frees the slots of their deployments, which a restarted server would
    hold for ever. except_for: the calling flow run. begun_before: ignore runs that start later.
    """
    mine = FlowRunFilter(
        tags=FlowRunFilterTags(all_=[project_tag()]),
        state=FlowRunFilterState(type=FlowRunFilterStateType(any_=_OPEN)),
        expected_start_time=FlowRunFilterExpectedStartTime(before_=begun_before),
    )
    with get_client(sync_client=True) as client:
        orphans = [
            run.id for run in client.read_flow_runs(flow_run_filter=mine) if run.id != except_for
        ]
        for flow_run in orphans:
            client.set_flow_run_state(
                flow_run, Crashed(message="its process died; closed by the next one"), force=True
            )
        _close_tasks(client, orphans)
    return len(orphans)


def ended_flow_runs() -> list[tuple[UUID, str, float]]:
    """Return id, name and days since the end of each ended flow run of this project."""
    mine = FlowRunFilter(
        tags=FlowRunFilterTags(all_=[project_tag()]),
        state=FlowRunFilterState(type=FlowRunFilterStateType(any_=[*TERMINAL_STATES])),
    )
    now = datetime.now(UTC)
    with get_client(sync_client=True) as client:
        return [
            (run.id, run.name, (now - (run.end_time or now)).total_seconds() / 86_400)
            for page in itertools.takewhile(bool, _pages(client, mine))
            for run in page
        ]


def delete_flow_run(flow_run: UUID) -> None:
    """Delete a flow run, if it exists, with its task runs, artifacts and logs."""
    of_it = ArtifactFilter(flow_run_id=ArtifactFilterFlowRunId(any_=[flow_run]))
    with get_client(sync_client=True) as client:
        while artifacts := client.read_artifacts(artifact_filter=of_it):
            for artifact in artifacts:
                assert artifact.id is not None
                client.delete_artifact(artifact.id)
        # The server deletes its task runs with it, and the logs soon after.
        with contextlib.suppress(ObjectNotFound):
            client.delete_flow_run(flow_run)


def _pages(client: SyncPrefectClient, wanted: FlowRunFilter) -> Iterator[Sequence[FlowRun]]:
    for offset in itertools.count(0, _PAGE):
        yield client.read_flow_runs(flow_run_filter=wanted, limit=_PAGE, offset=offset)


def _close_tasks(client: SyncPrefectClient, flow_runs: Sequence[UUID]) -> None:
    if not flow_runs:
        return
    of_these = FlowRunFilter(id=FlowRunFilterId(any_=list(flow_runs)))
    for task_run in client.read_task_runs(flow_run_filter=of_these):
        if task_run.state is None or not task_run.state.is_final():
            client.set_task_run_state(
                task_run.id, Crashed(message="its flow run's process died"), force=True
            )


def run_recorded(run: Callable[[], State[T]]) -> T:
    """Run a flow against the present API; its records are complete when this returns or raises.

    run: calls the flow with `return_state=True`. Returns the result in the flow's state.
    """
    with _present_api():
        try:
            with tags(project_tag()), _without_heartbeats():
                state = run()
        finally:
            APILogHandler().flush()
        flow_run = state.state_details.flow_run_id
        if flow_run is not None:
            wait_until_recorded(UUID(str(flow_run)))
        return state.result(raise_on_failure=True)


def _present_api() -> contextlib.AbstractContextManager[object]:
    """Speak to the API that the environment names now: Prefect asked it once, at its import.

    A process that retrains twice has had another server the first time.
    """
    named = {PREFECT_API_URL: "PREFECT_API_URL", PREFECT_API_AUTH_STRING: "PREFECT_API_AUTH_STRING"}
    found = {setting: os.environ.get(name) for setting, name in named.items()}
    return temporary_settings({setting: value for setting, value in found.items() if value})


def _without_heartbeats() -> contextlib.AbstractContextManager[object]:
    """Disable Prefect's heartbeats, whose thread delays the end of a flow by a second.

    They stay enabled on a server of the user's, whose automations need them.
    """
    if os.environ.get("PREFECT_API_URL") != os.environ.get("PREFECT_UI_API_URL"):
        return contextlib.nullcontext()
    return temporary_settings({PREFECT_FLOWS_HEARTBEAT_FREQUENCY: None})
