"""`python -m flows.clusters.outpost PREMISES`: trains trials beside a cluster's worker.

A process of our own, because workers of Dask may have no children, those of Ray would import their
own main module again for each, and both set variables that arithmetic or speed depend on. Here a
fork server has everything imported, and a trial is a child of it, exactly as on one machine.

An order is a line on standard input, its answer a line on standard output.
"""

import logging
import os
import sys
import threading
import time
from pathlib import Path
from typing import TextIO

from flows.engines.local import LocalEngine, TrialJob, warm_up
from flows.engines.worker_contract import Premises
from models.errors import PitchpipeError
from models.training.worker import Complaint, Work
from models.trials import EpochRecord

log = logging.getLogger(__name__)

SECONDS_BETWEEN_LOOKS = 1.0


def main() -> int:
    """Answer orders until the worker closes our standard input, or ends, or is not needed."""
    premises = Premises.model_validate_json(sys.argv[1])
    answers = _private_standard_output()
    threading.Thread(target=_end_with, args=(premises, os.getppid()), daemon=True).start()
    warm_up()
    engine = LocalEngine()
    for order in sys.stdin:
        answers.write(_answer(engine, Work.model_validate_json(order)) + "\n")
        answers.flush()
    return 0


def _private_standard_output() -> TextIO:
    """Keep standard output for answers; what networks print goes to standard error."""
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    return answers


def _end_with(premises: Premises, worker: int) -> None:
    """End with the worker or with the retraining, however they end; our children end with us."""
    while os.getppid() == worker and not premises.gone():
        time.sleep(SECONDS_BETWEEN_LOOKS)  # another machine's lock has no event to wait for
    os._exit(1)


def _answer(engine: LocalEngine, work: Work) -> str:
    job = TrialJob(
        spec=work.spec,
        directory=Path(work.directory),
        prepared=Path(work.prepared),
        budget=work.budget,
        label=work.spec.key[:12],
    )
    try:
        return engine.train(job, _ignore).model_dump_json()
    except PitchpipeError as error:
        return Complaint(complaint=str(error)).model_dump_json()
    except Exception as error:
        log.exception("training trial %s", work.spec.key)
        return Complaint(complaint=f"{type(error).__name__}: {error}").model_dump_json()


def _ignore(record: EpochRecord) -> None:
    """Who asked reads the epochs in the trial's directory."""
    del record


if __name__ == "__main__":
    sys.exit(main())
