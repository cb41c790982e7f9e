"""Runs a flow, and waits until Prefect's server has written down how its tasks ended."""

from collections.abc import Callable
from typing import Any, cast
from uuid import UUID

from prefect import tags
from prefect.client.schemas.objects import State
from prefect.logging.handlers import APILogHandler

from flows.gc import gc
from flows.prefect_api import wait_until_recorded
from flows.prefect_upkeep import project_tag
from flows.requests import Request, Retraining
from flows.retention import Cleaning
from flows.retrain import retrain


def run_and_record(request: Request) -> Retraining:
    """Retrain against the API at hand; its records are whole when this returns or raises."""
    return cast("Retraining", _recorded(lambda: retrain(request, return_state=True)))


def clean_and_record(request: Request, *, dry_run: bool) -> Cleaning:
    """Run the flow `gc` against the API at hand; its records are whole when this returns."""
    recorded = _recorded(lambda: gc(request, dry_run=dry_run, return_state=True))
    return cast("Cleaning", recorded)


def _recorded(run: Callable[[], State[Any]]) -> object:
    """What the flow's state carries, which its types cannot say."""
    try:
        with tags(project_tag()):
            state = run()
    finally:
        APILogHandler().flush()
    flow_run = state.state_details.flow_run_id
    if flow_run is not None:
        wait_until_recorded(UUID(str(flow_run)))
    return cast("object", state.result(raise_on_failure=True))
