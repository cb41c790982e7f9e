"""Prefect's deployments, made to agree with schedules.yaml: one for each schedule.

They belong to a work pool of the project. `pitchpipe up` runs a worker of that pool, and so may
anybody: `prefect worker start --pool ...` (docs/schedules.md).
"""

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
from prefect.exceptions import ObjectNotFound
from prefect.states import Cancelled, Scheduled

from flows.console import QUIET
from flows.prefect_upkeep import project_tag
from flows.schedules import Schedule
from flows.services import PREFECT_HOME
from models.digests import digest_of
from models.errors import ConfigError

FLOW = "retrain"
ENTRYPOINT = "flows.scheduled.retrain_on_schedule"
_BEGUN = [StateType.RUNNING, StateType.COMPLETED, StateType.FAILED, StateType.CRASHED]


def apply_schedules(schedules: Sequence[Schedule]) -> None:
    """Create, change and remove this project's deployments until they are what schedules say.

    One that agrees already is left alone: a change drops the runs that Prefect planned for it.
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
            agrees = schedule.name in there and there[schedule.name].version == _version(schedule)
            if not agrees and schedule.name not in foreign:
                _deploy(client, schedule)
    if foreign:
        raise ConfigError(
            f"schedule {', '.join(map(repr, sorted(foreign)))}: another project on this Prefect "
            "server has one of this name; choose another"
        )


def take_up(schedules: Sequence[Schedule], *, now: datetime) -> tuple[str, ...]:
    """Ask once for whatever was missed or broken off while nobody served; return the names.

    Of the ticks that passed meanwhile all are cancelled, and one run stands for them. The same
    goes for a schedule whose last run crashed: its retraining goes on from its last epoch.
    """
    asked = []
    with get_client(sync_client=True) as client:
        there = {deployment.name: deployment.id for deployment in _deployments(client)}
        for schedule in schedules:
            deployment = there.get(schedule.name)
            if deployment is None:
                continue  # another project has one of this name
            missed = cancel_missed(deployment, now=now, client=client)
            if schedule.active and (missed or _broken_off(client, deployment)):
                client.create_flow_run_from_deployment(deployment)
                asked.append(schedule.name)
    return tuple(asked)


def cancel_missed(
    deployment: UUID,
    *,
    now: datetime | None,
    client: SyncPrefectClient,
    except_for: UUID | None = None,
) -> int:
    """Cancel the runs of a deployment that should have begun before now and did not.

    now: null cancels those that lie in the future, too.
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


def ask_now(name: str) -> FlowRun:
    """Let a schedule's deployment run at once; ConfigError where Prefect does not know it."""
    with get_client(sync_client=True) as client:
        for deployment in _deployments(client):
            if deployment.name == name:
                return client.create_flow_run_from_deployment(deployment.id)
    raise ConfigError(f"schedule {name!r}: Prefect has none; `pitchpipe schedule apply` makes it")


def ask_again(deployment: UUID, at: datetime) -> None:
    """Plan one more run of a deployment, unless one is planned until then."""
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
    """Whether another project has a deployment of this name; this one has not."""
    try:
        client.read_deployment_by_name(f"{FLOW}/{schedule.name}")
    except ObjectNotFound:
        return False
    return True


def _broken_off(client: SyncPrefectClient, deployment: UUID) -> bool:
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
        description=f"{schedule.shown_trigger}: asks whether to retrain, and does.",
        work_pool_name=project_tag(),
        tags=[project_tag()],
        entrypoint=ENTRYPOINT,
        job_variables={},
    )
    if not schedule.active:  # Prefect drops what it planned itself, and not what we planned
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
    quiet = {name: os.environ.get(name, value) for name, value in QUIET.items()}
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
    """Digest of all that a deployment is made of; job variables, which it had once, are none."""
    return digest_of([schedule.model_dump(mode="json"), ENTRYPOINT, "no job variables"])[:12]
