"""Runs a flow, and waits until Prefect's server has written down how its tasks ended."""

import contextlib
import os
from collections.abc import Callable
from typing import Any, cast
from uuid import UUID

from prefect import tags
from prefect.client.schemas.objects import State
from prefect.logging.handlers import APILogHandler
from prefect.settings import PREFECT_FLOWS_HEARTBEAT_FREQUENCY, temporary_settings

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


def _no_heart_where_none_listens() -> contextlib.AbstractContextManager[object]:
    """Without heartbeats a flow ends at once, and not with the second that their thread sleeps.

    They are for automations on the user's own server; on ours there are none.
    """
    if os.environ.get("PREFECT_API_URL") != os.environ.get("PREFECT_UI_API_URL"):
        return contextlib.nullcontext()
    return temporary_settings({PREFECT_FLOWS_HEARTBEAT_FREQUENCY: None})


def _recorded(run: Callable[[], State[Any]]) -> object:
    """What the flow's state carries, which its types cannot say."""
    try:
        with tags(project_tag()), _no_heart_where_none_listens():
            state = run()
    finally:
        APILogHandler().flush()
    flow_run = state.state_details.flow_run_id
    if flow_run is not None:
        wait_until_recorded(UUID(str(flow_run)))
    return cast("object", state.result(raise_on_failure=True))
