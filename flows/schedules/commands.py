"""`schedule apply` and `schedule run-now`: what they do beyond the file."""

import logging
import os

from flows import run
from flows.records.retraining import Retraining
from flows.runtime.prefect_server import prefect_api, running_services
from flows.runtime.retraining_lock import only_retraining
from flows.schedules.config import named, read_schedules
from flows.schedules.triggers import with_arrivals


def apply_now() -> None:
    """Make the deployments of the Prefect server at hand agree with schedules.yaml."""
    schedules = read_schedules()
    with prefect_api() as wait_for_api:
        wait_for_api()
        from flows.schedules.deployments import apply_schedules  # noqa: PLC0415 - imports Prefect

        apply_schedules(schedules)


def run_schedule(name: str) -> Retraining | None:
    """Let whoever serves the schedule run it now; retrain here where nobody does.

    Returns what it came to; None where it was handed over, so that it is not known yet.
    """
    schedule = named(read_schedules(), name)
    if not is_served():
        with only_retraining():
            say = logging.getLogger(__name__).warning
            return run.run_retraining(with_arrivals(schedule.request(), say=say))
    with prefect_api() as wait_for_api:
        wait_for_api()
        from flows.schedules.deployments import apply_schedules, ask_now  # noqa: PLC0415

        apply_schedules(read_schedules())
        ask_now(name)
    return None


def is_served() -> bool:
    """Whether there is a Prefect server to hand a run over to: the user's, or that of `up`."""
    return "PREFECT_API_URL" in os.environ or running_services() is not None
