"""`schedule apply` and `schedule run-now`, which talk to Prefect."""

import logging
import os

from flows import run
from flows.records.retraining import Retraining
from flows.runtime.prefect_server import prefect_api, running_services
from flows.runtime.retraining_lock import only_retraining
from flows.schedules.config import find_schedule, read_schedules
from flows.schedules.triggers import take_arrivals


def apply_now() -> None:
    """Update the deployments of the Prefect server in use from schedules.yaml."""
    schedules = read_schedules()
    with prefect_api() as wait_for_api:
        wait_for_api()
        from flows.schedules.deployments import apply_schedules  # noqa: PLC0415 - imports Prefect

        apply_schedules(schedules)


def run_schedule(name: str) -> Retraining | None:
    """Run a schedule now: through Prefect where a server runs, else in this process.

    Returns the result; None where Prefect runs it.
    """
    schedule = find_schedule(read_schedules(), name)
    if not is_served():
        with only_retraining():
            say = logging.getLogger(__name__).warning
            arrived = take_arrivals(schedule.request(), say=say, remote=schedule.remote)
            return run.run_retraining(arrived)
    with prefect_api() as wait_for_api:
        wait_for_api()
        from flows.schedules.deployments import apply_schedules, run_now  # noqa: PLC0415

        apply_schedules(read_schedules())
        run_now(name)
    return None


def is_served() -> bool:
    """Whether a Prefect server can run the schedule: the user's, or that of `up`."""
    services = running_services()
    return "PREFECT_API_URL" in os.environ or (services is not None and services.own_prefect)
