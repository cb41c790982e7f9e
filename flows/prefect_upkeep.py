"""Prefect's records kept true: flow runs of this project that the dead left Running are closed."""

import uuid
from collections.abc import Sequence
from uuid import UUID

from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.filters import (
    FlowRunFilter,
    FlowRunFilterId,
    FlowRunFilterState,
    FlowRunFilterStateType,
    FlowRunFilterTags,
)
from prefect.client.schemas.objects import StateType
from prefect.states import Crashed

from flows.services import PREFECT_HOME
from models.files import write_text

_IDENTITY = PREFECT_HOME / "project.id"
_OPEN = [StateType.RUNNING, StateType.PENDING, StateType.CANCELLING]


def project_tag() -> str:
    """Tag of this project's flow runs on a server that several projects may share.

    The identity behind it moves with the project's folder.
    """
    if not _IDENTITY.exists():
        write_text(_IDENTITY, uuid.uuid4().hex)
    return f"pitchpipe-{_IDENTITY.read_text(encoding='utf-8')[:12]}"


def close_orphans(*, except_for: UUID | None) -> int:
    """Mark flow runs of this project that are still open as crashed; return how many there were.

    To be called by who holds the retraining lock: every other open run's process is dead.
    except_for: the flow run that calls.
    """
    mine = FlowRunFilter(
        tags=FlowRunFilterTags(all_=[project_tag()]),
        state=FlowRunFilterState(type=FlowRunFilterStateType(any_=_OPEN)),
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


def _close_tasks(client: SyncPrefectClient, flow_runs: Sequence[UUID]) -> None:
    if not flow_runs:
        return
    of_these = FlowRunFilter(id=FlowRunFilterId(any_=list(flow_runs)))
    for task_run in client.read_task_runs(flow_run_filter=of_these):
        if task_run.state is None or not task_run.state.is_final():
            client.set_task_run_state(
                task_run.id, Crashed(message="its flow run's process died"), force=True
            )
