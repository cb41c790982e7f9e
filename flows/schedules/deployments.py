"""Prefect's deployments: one for each schedule of schedules.yaml.

They belong to a work pool of the project. `pitchpipe up` runs a worker of that pool; so does
`prefect worker start --pool ...` (docs/schedules.md).
"""

import contextlib
import os
import shlex
import sys
from collections.abc import Sequence
from datetime import datetime, timedelta
from pathlib import Path
from uuid import UUID

from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.actions import (
    DeploymentScheduleCreate,
    WorkPoolCreate,
    WorkPoolUpdate,
)
from prefect.client.schemas.filters import (
    DeploymentFilter,
    DeploymentFilterTags,
    FlowRunFilter,
    FlowRunFilterDeploymentId,
    FlowRunFilterExpectedStartTime,
    FlowRunFilterState,
    FlowRunFilterStateType,
)
from prefect.client.schemas.objects import (
    ConcurrencyLimitStrategy,
    ConcurrencyOptions,
    FlowRun,
    StateType,
)
from prefect.client.schemas.responses import DeploymentResponse
from prefect.client.schemas.schedules import CronSchedule, IntervalSchedule
from prefect.client.schemas.sorting import FlowRunSort
from prefect.exceptions import ObjectAlreadyExists, ObjectNotFound
from prefect.states import Cancelled, Scheduled

from flows.runtime.environment import SAFE_DEFAULTS
from flows.runtime.prefect_records import project_tag
from flows.runtime.servers import PREFECT_HOME
from flows.schedules.config import Schedule
from models.digests import digest_of
from models.errors import ConfigError

FLOW = "retrain"
ENTRYPOINT = "flows.schedules.flow.retrain_on_schedule"
_BEGUN = [StateType.RUNNING, StateType.COMPLETED, StateType.FAILED, StateType.CRASHED]


def apply_schedules(schedules: Sequence[Schedule]) -> None:
    """Create, update and delete this project's deployments to match the schedules.

    One that matches is left alone: an update drops the runs that Prefect planned for it.
    Raises ConfigError where another project on the same server has a schedule of that name.
    """
    with get_client(sync_client=True) as client:
        there = {deployment.name: deployment for deployment in _deployments(client)}
        if schedules:
            _ensure_pool(client)
        for name in there.keys() - {schedule.name for schedule in schedules}:
            client.delete_deployment(there[name].id)
        new = [one for one in schedules if one.name not in there]
        foreign = {one.name for one in new if _is_foreign(client, one)}
        for schedule in schedules:
            matches = schedule.name in there and there[schedule.name].version == _version(schedule)
            if not matches and schedule.name not in foreign:
                _deploy(client, schedule)
    if foreign:
        raise ConfigError(
            f"schedule {', '.join(map(repr, sorted(foreign)))}: another project on this Prefect "
            "server has one of this name; choose another"
        )


def run_missed(schedules: Sequence[Schedule], *, now: datetime) -> tuple[str, ...]:
    """Run each schedule once whose runs were missed or crashed while not served; return the names.

    Missed runs are cancelled, and one run stands for them. A retraining that crashed continues
    from its last epoch.
    """
    started = []
    with get_client(sync_client=True) as client:
        there = {deployment.name: deployment.id for deployment in _deployments(client)}
        for schedule in schedules:
            deployment = there.get(schedule.name)
            if deployment is None:
                continue  # refused: another project has one of this name
            missed = cancel_missed(deployment, now=now, client=client)
            if schedule.active and (missed or _has_crashed(client, deployment)):
                client.create_flow_run_from_deployment(deployment)
                started.append(schedule.name)
    return tuple(started)


def cancel_missed(
    deployment: UUID,
    *,
    now: datetime | None,
    client: SyncPrefectClient,
    except_for: UUID | None = None,
) -> int:
    """Cancel the runs of a deployment that should have started before now and did not.

    now: null also cancels those in the future.
    """
    late = FlowRunFilter(
        deployment_id=FlowRunFilterDeploymentId(any_=[deployment]),
        state=FlowRunFilterState(type=FlowRunFilterStateType(any_=[StateType.SCHEDULED])),
        expected_start_time=FlowRunFilterExpectedStartTime(before_=now),
    )
    missed = [run for run in client.read_flow_runs(flow_run_filter=late) if run.id != except_for]
    for run in missed:
        message = "missed; one run stands for all that were missed"
        client.set_flow_run_state(run.id, Cancelled(message=message), force=True)
    return len(missed)


def run_now(name: str) -> FlowRun:
    """Run the deployment of a schedule now; ConfigError where Prefect has none."""
    with get_client(sync_client=True) as client:
        for deployment in _deployments(client):
            if deployment.name == name:
                return client.create_flow_run_from_deployment(deployment.id)
    raise ConfigError(f"schedule {name!r}: not in Prefect; `pitchpipe schedule apply` adds it")


def plan_run(deployment: UUID, at: datetime) -> None:
    """Plan a run of a deployment, unless one is planned until then."""
    planned = FlowRunFilter(
        deployment_id=FlowRunFilterDeploymentId(any_=[deployment]),
        state=FlowRunFilterState(type=FlowRunFilterStateType(any_=[StateType.SCHEDULED])),
        expected_start_time=FlowRunFilterExpectedStartTime(before_=at + timedelta(seconds=1)),
    )
    with get_client(sync_client=True) as client:
        if not client.read_flow_runs(flow_run_filter=planned, limit=1):
            client.create_flow_run_from_deployment(deployment, state=Scheduled(scheduled_time=at))


def _deployments(client: SyncPrefectClient) -> list[DeploymentResponse]:
    mine = DeploymentFilter(tags=DeploymentFilterTags(all_=[project_tag()]))
    return client.read_deployments(deployment_filter=mine)


def _is_foreign(client: SyncPrefectClient, schedule: Schedule) -> bool:
    """Whether a deployment of this name exists, given that this project has none."""
    try:
        deployment = client.read_deployment_by_name(f"{FLOW}/{schedule.name}")
    except ObjectNotFound:
        return False
    # Ours where `up` and a command apply the same schedule at once.
    return project_tag() not in deployment.tags


def _has_crashed(client: SyncPrefectClient, deployment: UUID) -> bool:
    begun = FlowRunFilter(
        deployment_id=FlowRunFilterDeploymentId(any_=[deployment]),
        state=FlowRunFilterState(type=FlowRunFilterStateType(any_=_BEGUN)),
    )
    last = client.read_flow_runs(
        flow_run_filter=begun, sort=FlowRunSort.EXPECTED_START_TIME_DESC, limit=1
    )
    return any(run.state_type == StateType.CRASHED for run in last)


def _ensure_pool(client: SyncPrefectClient) -> None:
    """Make the project's pool, or see that it starts flow runs as `_job_template` says."""
    template = _job_template()
    try:
        pool = client.read_work_pool(project_tag())
    except ObjectNotFound:
        with contextlib.suppress(ObjectAlreadyExists):  # `up` and a command may do so at once
            client.create_work_pool(
                WorkPoolCreate(name=project_tag(), type="process", base_job_template=template)
            )
    else:
        if pool.base_job_template != template:
            update = WorkPoolUpdate(base_job_template=template)
            client.update_work_pool(project_tag(), update)


def _deploy(client: SyncPrefectClient, schedule: Schedule) -> None:
    when = _prefects(schedule)
    deployment = client.create_deployment(
        flow_id=client.create_flow_from_name(FLOW),
        name=schedule.name,
        version=_version(schedule),
        schedules=[DeploymentScheduleCreate(schedule=when, active=schedule.active)] if when else [],
        concurrency_limit=1,
        concurrency_options=ConcurrencyOptions(
            collision_strategy=ConcurrencyLimitStrategy.CANCEL_NEW
        ),
        parameters={"schedule": schedule.name},
        description=f"{schedule.trigger_text}: retrains where there is a reason.",
        work_pool_name=project_tag(),
        tags=[project_tag()],
        entrypoint=ENTRYPOINT,
        job_variables={},
    )
    if not schedule.active:  # Prefect drops the runs it planned itself, but not ours
        cancel_missed(deployment, now=None, client=client)


def _prefects(schedule: Schedule) -> CronSchedule | IntervalSchedule | None:
    if schedule.cron is not None:
        return CronSchedule(cron=schedule.cron, timezone=schedule.timezone)
    if schedule.interval is not None:
        step = timedelta(seconds=schedule.interval)
        return IntervalSchedule(interval=step, anchor_date=schedule.anchor)
    return None


def _job_template() -> dict[str, object]:
    """How a worker starts every flow run: our interpreter, in the project, without telemetry.

    Nothing in it can be chosen by who asks for a run. `env` is missing for that reason: Prefect
    merges the job variable of that name into it, declared or not. A command of its own saves
    Prefect's process that looks for the flow's workspace.
    """
    quiet = {name: os.environ.get(name, value) for name, value in SAFE_DEFAULTS.items()}
    settings = {**quiet, "PREFECT_HOME": str(PREFECT_HOME.resolve())}
    words = [f"{name}={value}" for name, value in settings.items()]
    return {
        "job_configuration": {
            "command": shlex.join(["env", *words, sys.executable, "-m", "prefect.engine"]),
            "working_dir": str(Path.cwd()),
        },
        "variables": {"type": "object", "properties": {}, "additionalProperties": False},
    }


def _version(schedule: Schedule) -> str:
    """Digest of everything in a deployment; earlier releases gave it job variables."""
    return digest_of([ENTRYPOINT, schedule.model_dump(mode="json"), "no job variables"])[:12]
