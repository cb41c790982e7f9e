"""`python -m flows.clusters.dask_head WORKERS [GPU...]`: a Dask cluster for one retraining."""

import logging
import signal
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

from flows.clusters.head import say_ready
from flows.devices import VISIBLE
from flows.services import LOOPBACK

if TYPE_CHECKING:
    from distributed import SpecCluster


def main() -> None:
    """Start a scheduler and workers, a process and a thread each, and wait to be killed."""
    with start_cluster(int(sys.argv[1]), gpus=sys.argv[2:]) as cluster:
        say_ready(cluster.scheduler_address)
        signal.pause()


def start_cluster(workers: int, *, gpus: Sequence[str] = ()) -> "SpecCluster":
    """Start it on loopback: no dashboard, no limit of memory, and GPUs in turn where there are."""
    import dask  # noqa: PLC0415 - the extra may be missing
    from distributed import Nanny, Scheduler, SpecCluster  # noqa: PLC0415

    # A worker that died is no fault of the trial's; the engine counts deaths, and gives it again.
    dask.config.set({"distributed.scheduler.allowed-failures": 0})
    local = {"host": LOOPBACK, "dashboard": False, "dashboard_address": None}
    return SpecCluster(
        scheduler={"cls": Scheduler, "options": {**local, "port": 0}},
        workers={
            number: {
                "cls": Nanny,
                "options": {
                    **local,
                    "nthreads": 1,
                    "memory_limit": 0,
                    "silence_logs": logging.ERROR,
                    "env": {VISIBLE: gpus[number % len(gpus)]} if gpus else {},
                },
            }
            for number in range(workers)
        },
        silence_logs=logging.ERROR,
    )


if __name__ == "__main__":
    main()
