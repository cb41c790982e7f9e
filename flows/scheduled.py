"""The flow behind every deployment: take what was delivered, ask, retrain where there is a reason.

Light to import: a tick with nothing to do ends in seconds, without torch and MLflow.
"""

import contextlib
import sys
from datetime import UTC, datetime, timedelta
from uuid import UUID

from prefect import flow, get_run_logger, runtime
from prefect.client.orchestration import get_client
from prefect.client.schemas.objects import State
from prefect.states import Cancelled

from flows.arrivals import take_what_arrived
from flows.artifacts import completed
from flows.dataset_version import ensure_ingested
from flows.decisions import decide, nothing_to_do
from flows.deployments import ask_again, cancel_missed
from flows.drift_since import drift_since_the_last
from flows.healing import persistently
from flows.requests import Request, Retraining
from flows.retraining_lock import only_retraining
from flows.retraining_note import local_minute
from flows.schedules import Schedule, named, read_schedules
from models.decision import Decision
from models.errors import BusyError

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
        request = _with_arrivals(asking.request())
        params = request.params()
        decision = decide(params, request)
        _announce(decision)
        _plan_another(asking, decision.not_before)
        if not decision.retrain:
            return completed(nothing_to_do(decision, params))
        return _retrain(request)


def _with_arrivals(request: Request) -> Request:
    """Take what was delivered, and look whether it has drifted where that is asked about."""
    params = request.params()
    take_what_arrived(params)
    ensure_ingested(params.data)
    if request.trigger != "drift":
        return request
    return request.model_copy(update={"drift": drift_since_the_last(params)})


def _retrain(request: Request) -> State[Retraining]:
    from flows.engine import warm_up  # noqa: PLC0415 - a no-op needs none of these

    warm_up()
    from flows.retrain import retrain  # noqa: PLC0415

    return persistently(lambda: retrain.fn(request), say=get_run_logger().warning)


def _announce(decision: Decision) -> None:
    """Say the decision in a line, to Prefect's log and to whoever serves (`pitchpipe up`)."""
    line = f"decision: {decision.model_dump_json()}"
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
