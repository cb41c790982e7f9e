"""`python -m flows.engines.worker_agent CONTRACT`: trains trials on behalf of a cluster's worker.

A separate process, because workers of Dask may have no children, those of Ray would import their
own main module again for each, and both set variables that arithmetic or speed depend on. Here a
fork server has everything imported, and a trial is a child of it, exactly as on one machine.

An order is a line on standard input, its answer a line on standard output.
"""

import logging
import os
import queue
import sys
import time
from typing import TextIO

from flows.engines.local import LocalEngine, warm_up
from flows.engines.worker_contract import WorkerContract
from models.errors import PitchpipeError
from models.lifetime import end_when
from models.training.worker import Complaint, TrialJob
from models.trials import EpochRecord

log = logging.getLogger(__name__)

POLL_SECONDS = 1.0


def main() -> None:
    """Answer orders until the worker or the retraining ends, however it does.

    The worker holds the other end of our standard input; our children end with us.
    """
    contract = WorkerContract.model_validate_json(sys.argv[1])
    answers = _private_standard_output()
    orders = queue.SimpleQueue[str]()

    def read_orders() -> None:
        for order in sys.stdin:
            orders.put(order)

    def wait_for_retraining() -> None:
        while not contract.gone():
            time.sleep(POLL_SECONDS)  # another machine's lock has no event to wait for

    end_when(read_orders)
    end_when(wait_for_retraining)
    warm_up()
    engine = LocalEngine()
    while True:
        answers.write(_answer(engine, TrialJob.model_validate_json(orders.get())) + "\n")
        answers.flush()


def _private_standard_output() -> TextIO:
    """Keep standard output for answers; what networks print goes to standard error."""
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    return answers


def _answer(engine: LocalEngine, job: TrialJob) -> str:
    try:
        return engine.train(job, _ignore).model_dump_json()
    except PitchpipeError as error:
        return Complaint(complaint=str(error)).model_dump_json()
    except Exception as error:
        log.exception("training trial %s", job.spec.key)
        return Complaint(complaint=f"{type(error).__name__}: {error}").model_dump_json()


def _ignore(record: EpochRecord) -> None:
    """Do nothing: epochs are read from the trial's directory."""
    del record


if __name__ == "__main__":
    main()
