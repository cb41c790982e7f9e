"""Flow of every deployment: add deliveries, decide, retrain where there is a reason.

Light to import: a tick without a reason ends in seconds, without torch and MLflow.
"""

import contextlib
import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import TypeVar
from uuid import UUID

from prefect import flow, get_run_logger, runtime
from prefect.client.orchestration import get_client
from prefect.client.schemas.objects import State
from prefect.states import Cancelled

from flows.records.retraining import Request, Retraining
from flows.retraining.decide import decide, record_no_retraining
from flows.retraining.notify import notifying_failure
from flows.retraining.notify_apprise import check_notify
from flows.retraining.prefect_artifacts import completed_state
from flows.retraining.summary_markdown import local_minute
from flows.runtime.retraining_lock import only_retraining
from flows.schedules.config import Schedule, find_schedule, read_schedules
from flows.schedules.deployments import cancel_missed, plan_run
from flows.schedules.triggers import take_arrivals
from models.errors import BusyError, can_heal

BUSY_MINUTES = 5
"""Pause of a data trigger that met another retraining; a clock has its next tick."""


def _flow_run_name() -> str:
    return f"{local_minute()} {runtime.flow_run.parameters['schedule']}"


@flow(name="retrain", flow_run_name=_flow_run_name)
def retrain_on_schedule(schedule: str) -> State[Retraining]:
    """Retrain if there is a reason; HOLD and REJECT complete, a concurrent run is cancelled."""
    found = find_schedule(read_schedules(), schedule)
    _cancel_missed_runs()
    with contextlib.ExitStack() as stack:
        try:
            stack.enter_context(only_retraining())
        except BusyError as error:
            _plan_retry(found, datetime.now(UTC) + timedelta(minutes=BUSY_MINUTES))
            return Cancelled(message=str(error))
        with notifying_failure(found.request().params()):
            return retry_with_backoff(lambda: _run(found), say=_report)


def _run(schedule: Schedule) -> State[Retraining]:
    """Add deliveries, decide, retrain; a repetition continues where the last attempt failed."""
    check_notify(schedule.request().params().notify)
    request = take_arrivals(schedule.request(), say=_report, remote=schedule.remote)
    params = request.params()
    decision = decide(params, request)
    _report(f"decision: {decision.model_dump_json()}")
    _plan_retry(schedule, decision.not_before)
    return (
        _retrain(request)
        if decision.retrain
        else completed_state(record_no_retraining(decision, params))
    )


def _retrain(request: Request) -> State[Retraining]:
    from flows.engines.local import warm_up  # noqa: PLC0415 - a no-op needs none of these

    warm_up()
    from flows.retrain import retrain  # noqa: PLC0415

    return retrain.fn(request)


def _report(line: str) -> None:
    """Write a line to Prefect's log, and to standard output for `pitchpipe up`."""
    get_run_logger().info(line)
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def _cancel_missed_runs() -> None:
    """Cancel other late runs, such as after the machine slept: this run stands for them."""
    with get_client(sync_client=True) as client:
        cancel_missed(
            UUID(runtime.deployment.id),
            now=datetime.now(UTC),
            client=client,
            except_for=UUID(runtime.flow_run.id),
        )


def _plan_retry(schedule: Schedule, at: datetime | None) -> None:
    """Plan a later run for new data or drift, which trigger once; clocks have their next tick."""
    if at is not None and schedule.on is not None:
        plan_run(UUID(runtime.deployment.id), at)


PAUSES = (60.0, 300.0, 900.0)
"""Seconds before the second, third and last attempt: enough for a server or network to recover.
Finished trials are in the store and are not trained again."""

_Result = TypeVar("_Result")


def retry_with_backoff(
    act: Callable[[], _Result],
    *,
    say: Callable[[str], object],
    wait: Callable[[float], object] = time.sleep,
) -> _Result:
    """Return what act returns; transient errors are reported, and it is called again.

    Other errors, and the last one, are raised.
    """
    for pause in PAUSES:
        try:
            return act()
        except Exception as error:
            if not can_heal(error):
                raise
            say(f"tried again: in {pause:.0f} s, since {error}")
        wait(pause)
    return act()
