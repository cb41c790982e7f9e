"""Prefect's deployments as schedules.yaml says, on a real server; time is an argument."""

import asyncio
import shutil
import sys
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any
from unittest.mock import Mock
from uuid import UUID

import pytest
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.actions import WorkPoolUpdate
from prefect.client.schemas.objects import State
from prefect.exceptions import ObjectNotFound, PrefectHTTPStatusError
from prefect.settings import PREFECT_API_AUTH_STRING, PREFECT_API_URL, temporary_settings
from prefect.states import Crashed, Running, Scheduled
from prefect.workers.process import ProcessJobConfiguration, ProcessWorker
from project_folder import ProjectFolder, Ran

from flows.runtime.prefect_records import close_orphans, project_tag
from flows.runtime.servers import (
    PREFECT_HOME,
    free_port,
    new_password,
    prefect_server,
    server_environment,
)
from flows.schedules import deployments
from flows.schedules.config import Schedule
from flows.schedules.deployments import ENTRYPOINT, apply_schedules, plan_run, run_missed, run_now
from models.errors import ConfigError

NOW = datetime.now(UTC).replace(microsecond=0)
NIGHTLY = Schedule(name="nightly", cron="0 3 * * *", timezone="Europe/Berlin")
ARRIVALS = Schedule(name="arrivals", on="new data")


@pytest.fixture(scope="module")
def client(
    retrained: tuple[ProjectFolder, Ran], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[SyncPrefectClient]:
    """A client of a server of its own, whose database was made before."""
    root = tmp_path_factory.mktemp("deployments")
    shutil.copytree(retrained[0].root / PREFECT_HOME, root / PREFECT_HOME)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(root)
        server = prefect_server(free_port(0))
        environment = server_environment(f"{server.url}/api", new_password())
        changes = {
            PREFECT_API_URL: environment["PREFECT_API_URL"],
            PREFECT_API_AUTH_STRING: environment["PREFECT_API_AUTH_STRING"],
        }
        with server.start(environment):
            server.wait_ready()
            with (
                temporary_settings(changes),
                get_client(sync_client=True) as client,
            ):
                yield client


@pytest.fixture(autouse=True)
def _cleared(client: SyncPrefectClient) -> Iterator[None]:
    yield
    apply_schedules(())
    assert there(client) == {}


def there(client: SyncPrefectClient) -> dict[str, Any]:
    """Deployments by name."""
    return {deployment.name: deployment for deployment in client.read_deployments()}


def runs(client: SyncPrefectClient, deployment: UUID) -> dict[str, int]:
    """How many runs of a deployment are in which state; what lies in the future is left out."""
    counts: dict[str, int] = {}
    for run in client.read_flow_runs():
        if run.deployment_id == deployment and (run.expected_start_time or NOW) <= soon():
            counts[str(run.state_name)] = counts.get(str(run.state_name), 0) + 1
    return counts


def soon() -> datetime:
    return datetime.now(UTC) + timedelta(seconds=5)


def test_deployments_follow_the_file(client: SyncPrefectClient) -> None:
    """Made, changed and removed; what agrees already is left alone, and so are its planned runs."""
    apply_schedules((NIGHTLY, ARRIVALS))
    first = there(client)
    apply_schedules((NIGHTLY.model_copy(update={"active": False}), ARRIVALS))
    second = there(client)
    apply_schedules((ARRIVALS,))

    (berlin,) = first["nightly"].schedules
    assert (berlin.schedule.cron, berlin.schedule.timezone) == ("0 3 * * *", "Europe/Berlin")
    assert berlin.active
    assert first["nightly"].concurrency_options.collision_strategy.value == "CANCEL_NEW"
    assert first["nightly"].global_concurrency_limit.limit == 1
    assert first["nightly"].work_pool_name == project_tag()
    assert not second["nightly"].schedules[0].active
    assert second["arrivals"].updated == first["arrivals"].updated
    assert list(there(client)) == ["arrivals"]


@pytest.mark.slow  # the scheduler looks every 5 s
def test_a_schedule_gets_its_runs_planned(client: SyncPrefectClient) -> None:
    """By the server alone, which with SQLAlchemy 2.1 showed a healthy schedule and planned none."""
    apply_schedules((NIGHTLY,))
    mine = there(client)["nightly"].id
    deadline = time.monotonic() + 90

    while not (planned := [run for run in client.read_flow_runs() if run.deployment_id == mine]):
        assert time.monotonic() < deadline, "no run was planned"
        time.sleep(0.5)  # the server sends no event for it

    assert {run.state_name for run in planned} == {"Scheduled"}


def test_a_deployment_of_another_release_is_renewed(
    client: SyncPrefectClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its flow may have been moved to another module: the old one cannot be imported any more."""
    with monkeypatch.context() as patch:
        patch.setattr(deployments, "ENTRYPOINT", "flows.earlier.retrain_on_schedule")
        apply_schedules((NIGHTLY,))
        assert there(client)["nightly"].entrypoint == "flows.earlier.retrain_on_schedule"

    apply_schedules((NIGHTLY,))

    assert there(client)["nightly"].entrypoint == deployments.ENTRYPOINT


def test_two_that_apply_the_schedules_at_once_do_not_collide(
    client: SyncPrefectClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`up` and `schedule run-now`: one has made pool and deployments since the other looked."""
    apply_schedules((NIGHTLY,))
    missing = ObjectNotFound(http_exc=Exception("it was not there yet"))
    with monkeypatch.context() as patch:
        patch.setattr(deployments, "_deployments", lambda _: [])
        patch.setattr(SyncPrefectClient, "read_work_pool", Mock(side_effect=missing))

        apply_schedules((NIGHTLY, ARRIVALS))

    assert {"arrivals", "nightly"} == set(there(client))


def test_a_name_taken_by_another_project_of_the_server_is_refused(
    client: SyncPrefectClient,
) -> None:
    """Two projects may share a server; neither overwrites the other's."""
    flow = client.create_flow_from_name("retrain")
    foreign = client.create_deployment(flow_id=flow, name="nightly", tags=["pitchpipe-other"])

    with pytest.raises(ConfigError, match="'nightly': another project"):
        apply_schedules((NIGHTLY, ARRIVALS))

    assert {"arrivals", "nightly"} == set(there(client))  # what is ours is served all the same
    assert run_missed((NIGHTLY, ARRIVALS), now=NOW) == ()
    client.delete_deployment(foreign)


def test_ticks_missed_while_nobody_served_become_one_run(client: SyncPrefectClient) -> None:
    """Three nights pass: three runs are cancelled, one is asked for, and only once."""
    apply_schedules((NIGHTLY, ARRIVALS))
    nightly = there(client)["nightly"].id
    for night in range(1, 4):
        when: State[None] = Scheduled(scheduled_time=NOW - timedelta(days=night))
        client.create_flow_run_from_deployment(nightly, state=when)

    asked = run_missed((NIGHTLY, ARRIVALS), now=NOW)

    assert asked == ("nightly",)
    assert runs(client, nightly) == {"Cancelled": 3, "Scheduled": 1}
    assert run_missed((NIGHTLY, ARRIVALS), now=NOW) == ()


def test_a_run_that_died_is_closed_and_its_schedule_asked_again(client: SyncPrefectClient) -> None:
    """Its slot is free again; a paused schedule rests, and what is newer is left alone."""
    apply_schedules((NIGHTLY, ARRIVALS))
    nightly = there(client)["nightly"].id
    dead = client.create_flow_run_from_deployment(nightly).id
    client.set_flow_run_state(dead, Running(), force=True)

    assert close_orphans(except_for=None, begun_before=NOW - timedelta(hours=1)) == 0
    assert close_orphans(except_for=None) == 1

    assert client.read_flow_run(dead).state_name == "Crashed"
    assert run_missed((NIGHTLY.model_copy(update={"active": False}), ARRIVALS), now=NOW) == ()
    assert run_missed((NIGHTLY, ARRIVALS), now=NOW) == ("nightly",)


def test_a_crash_that_was_got_over_is_no_reason(client: SyncPrefectClient) -> None:
    """Only the last run that began counts."""
    apply_schedules((NIGHTLY,))
    nightly = there(client)["nightly"].id
    states: tuple[State[None], ...] = (Crashed(), Running())
    for ago, state in zip((2, 1), states, strict=True):
        when: State[None] = Scheduled(scheduled_time=NOW - timedelta(hours=ago))
        run = client.create_flow_run_from_deployment(nightly, state=when)
        client.set_flow_run_state(run.id, state, force=True)

    assert run_missed((NIGHTLY,), now=NOW) == ()


def test_asking_later_is_planned_once(client: SyncPrefectClient) -> None:
    """A trigger that was held up by its cool-down comes back when that is over."""
    apply_schedules((ARRIVALS,))
    deployment = there(client)["arrivals"].id
    later = NOW + timedelta(hours=6)

    plan_run(deployment, later)
    plan_run(deployment, later)

    planned = [run for run in client.read_flow_runs() if run.deployment_id == deployment]
    assert [run.expected_start_time for run in planned] == [later]


def test_pausing_drops_what_was_planned_for_later(client: SyncPrefectClient) -> None:
    """Prefect drops the runs that it planned itself; ours must not retrain while it is paused."""
    apply_schedules((ARRIVALS,))
    deployment = there(client)["arrivals"].id
    plan_run(deployment, NOW + timedelta(hours=6))

    apply_schedules((ARRIVALS.model_copy(update={"active": False}),))

    planned = [run for run in client.read_flow_runs() if run.deployment_id == deployment]
    assert [run.state_name for run in planned] == ["Cancelled"]


def old_template() -> dict[str, Any]:
    """The pool's template as an earlier release made it: Prefect's own, which takes a command."""
    template: dict[str, Any] = ProcessWorker.get_default_base_job_template()
    assert "command" in template["variables"]["properties"]
    return template


def started_by(client: SyncPrefectClient, **job_variables: object) -> ProcessJobConfiguration:
    """What a worker of the project's pool would start for these job variables."""
    template = client.read_work_pool(project_tag()).base_job_template
    coming = ProcessJobConfiguration.from_template_and_values(template, job_variables)
    return asyncio.run(coming)


def test_an_earlier_releases_pool_and_deployments_are_made_anew(
    client: SyncPrefectClient,
) -> None:
    """The template takes no command any more, and no deployment brings one."""
    apply_schedules((NIGHTLY,))
    client.update_work_pool(project_tag(), WorkPoolUpdate(base_job_template=old_template()))
    client.create_deployment(
        flow_id=client.create_flow_from_name("retrain"),
        name="nightly",
        version="of an earlier release",
        tags=[project_tag()],
        work_pool_name=project_tag(),
        entrypoint="flows.before.retrain",
        job_variables={"command": "touch owned"},
    )

    apply_schedules((NIGHTLY,))

    nightly = there(client)["nightly"]
    assert nightly.job_variables == {}
    assert nightly.entrypoint == ENTRYPOINT
    variables = client.read_work_pool(project_tag()).base_job_template["variables"]
    assert variables["properties"] == {}


EVIL: tuple[dict[str, object], ...] = (
    {"command": "touch owned"},
    {"working_dir": "/tmp"},
    {"env": {"PYTHONPATH": "/tmp/owned"}},
    {"env.PYTHONPATH": "/tmp/owned"},
    {"name": "{{ owned }}"},
)


@pytest.mark.parametrize("variables", EVIL)
def test_who_asks_for_a_run_does_not_choose_how_it_starts(
    client: SyncPrefectClient, variables: dict[str, object]
) -> None:
    """Prefect refuses job variables; one that it had stored before comes to nothing."""
    apply_schedules((NIGHTLY,))
    deployment = there(client)["nightly"].id

    with pytest.raises(PrefectHTTPStatusError, match=r"409|422"):
        client.create_flow_run_from_deployment(deployment, job_variables=variables)
    with pytest.raises(PrefectHTTPStatusError, match=r"409|422"):
        client.create_deployment(
            flow_id=client.create_flow_from_name("retrain"),
            name="evil",
            work_pool_name=project_tag(),
            job_variables=variables,
        )

    assert started_by(client, **variables) == started_by(client)
    assert started_by(client).env == {}
    command = started_by(client).command or ""
    assert command.endswith(f"{sys.executable} -m prefect.engine")


def test_running_now_needs_a_deployment(client: SyncPrefectClient) -> None:
    """An unknown name is named, with the way out."""
    apply_schedules((ARRIVALS,))

    run = run_now("arrivals")

    assert client.read_flow_run(run.id).deployment_id == there(client)["arrivals"].id
    with pytest.raises(ConfigError, match="'weekly': not in Prefect"):
        run_now("weekly")
