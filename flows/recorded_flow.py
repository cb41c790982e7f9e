"""Runs the flow, and waits until Prefect's server has written down how its tasks ended."""

from typing import cast
from uuid import UUID

from prefect import tags
from prefect.logging.handlers import APILogHandler

from flows.prefect_api import wait_until_recorded
from flows.prefect_upkeep import project_tag
from flows.requests import Request, Retraining
from flows.retrain import retrain


def run_and_record(request: Request) -> Retraining:
    """Run the flow against the API at hand; its records are whole when this returns or raises."""
    try:
        with tags(project_tag()):
            state = retrain(request, return_state=True)
    finally:
        APILogHandler().flush()
    flow_run = state.state_details.flow_run_id
    if flow_run is not None:
        wait_until_recorded(UUID(str(flow_run)))
    # Prefect hands out what the returned state carries, not the state.
    return cast("Retraining", state.result(raise_on_failure=True))
