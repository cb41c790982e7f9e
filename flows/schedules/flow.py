"""The flow behind every deployment: take what was delivered, ask, retrain where there is a reason.

Light to import: a tick with nothing to do ends in seconds, without torch and MLflow.
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
from flows.retraining.decide import decide, nothing_to_do
from flows.retraining.notify import telling_of_failure
from flows.retraining.prefect_artifacts import completed
from flows.retraining.summary_markdown import local_minute
from flows.runtime.retraining_lock import only_retraining
from flows.schedules.config import Schedule, named, read_schedules
from flows.schedules.deployments import ask_again, cancel_missed
from flows.schedules.triggers import with_arrivals
from models.errors import BusyError, can_heal

BUSY_MINUTES = 5
"""After which a trigger that met another retraining asks again; a clock has its next tick."""


def _flow_run_name() -> str:
    return f"{local_minute()} {runtime.flow_run.parameters['schedule']}"


@flow(name="retrain", flow_run_name=_flow_run_name)
def retrain_on_schedule(schedule: str) -> State[Retraining]:
    """Ask whether to retrain, and do; HOLD and REJECT complete, and a second one is cancelled."""
    asking = named(read_schedules(), schedule)
    _stand_for_the_missed()
    with contextlib.ExitStack() as stack:
        try:
            stack.enter_context(only_retraining())
        except BusyError as error:
            _plan_another(asking, datetime.now(UTC) + timedelta(minutes=BUSY_MINUTES))
            return Cancelled(message=str(error))
        with telling_of_failure(asking.request().params()):
            return persistently(lambda: _ask(asking), say=_say)


def _ask(asking: Schedule) -> State[Retraining]:
    """Take what was delivered, decide, retrain; tried again, it finds done what was done."""
    request = with_arrivals(asking.request(), say=_say)
    params = request.params()
    decision = decide(params, request)
    _say(f"decision: {decision.model_dump_json()}")
    _plan_another(asking, decision.not_before)
    return _retrain(request) if decision.retrain else completed(nothing_to_do(decision, params))


def _retrain(request: Request) -> State[Retraining]:
    from flows.engines.local import warm_up  # noqa: PLC0415 - a no-op needs none of these

    warm_up()
    from flows.retrain import retrain  # noqa: PLC0415

    return retrain.fn(request)


def _say(line: str) -> None:
    """Say a line to Prefect's log, and to whoever serves (`pitchpipe up`)."""
    get_run_logger().info(line)
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def _stand_for_the_missed() -> None:
    """After the machine slept, several runs are late: this one stands for them all."""
    with get_client(sync_client=True) as client:
        cancel_missed(
            UUID(runtime.deployment.id),
            now=datetime.now(UTC),
            client=client,
            except_for=UUID(runtime.flow_run.id),
        )


def _plan_another(schedule: Schedule, at: datetime | None) -> None:
    """New data and drift are told once, so that what could not be now is planned for later."""
    if at is not None and schedule.on is not None:
        ask_again(UUID(runtime.deployment.id), at)


PAUSES = (60.0, 300.0, 900.0)
"""Seconds before the second, third and last attempt: a server that restarts, a network that is
mended. Trials that were trained meanwhile are in the store and cost nothing again."""

_Result = TypeVar("_Result")


def persistently(
    act: Callable[[], _Result],
    *,
    say: Callable[[str], object],
    wait: Callable[[float], object] = time.sleep,
) -> _Result:
    """Return what act returns; its errors that can heal are said, and it is tried again.

    An error that cannot, and the last one, are raised as they are.
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
