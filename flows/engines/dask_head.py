"""`python -m flows.engines.dask_head WORKERS GPUS_A_WORKER [GPU...]`: a local Dask cluster."""

import logging
import signal
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

from flows.engines.cluster_head import say_ready
from flows.engines.devices import VISIBLE
from flows.runtime.servers import LOOPBACK

if TYPE_CHECKING:
    from distributed import SpecCluster


def main() -> None:
    """Start a scheduler and workers, each a process with one thread, and wait to be killed."""
    workers, each = int(sys.argv[1]), int(sys.argv[2])
    with start_cluster(
        workers, gpus=share_gpus(sys.argv[3:], workers=workers, each=each)
    ) as cluster:
        say_ready(cluster.scheduler_address)
        signal.pause()


def share_gpus(gpus: Sequence[str], *, workers: int, each: int) -> tuple[str, ...]:
    """Return CUDA_VISIBLE_DEVICES of each worker, `each` GPUs by turns; () without GPUs."""
    if not gpus:
        return ()
    return tuple(
        ",".join(gpus[(worker * each + turn) % len(gpus)] for turn in range(each))
        for worker in range(workers)
    )


def start_cluster(workers: int, *, gpus: Sequence[str] = ()) -> "SpecCluster":
    """Start a cluster on loopback, without dashboard or memory limit.

    gpus: CUDA_VISIBLE_DEVICES of each worker.
    """
    import dask  # noqa: PLC0415 - the extra may be missing
    from distributed import Nanny, Scheduler, SpecCluster  # noqa: PLC0415

    # The engine counts deaths of workers, and submits a trial again itself.
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
                    "env": {VISIBLE: gpus[number]} if gpus else {},
                },
            }
            for number in range(workers)
        },
        silence_logs=logging.ERROR,
    )


if __name__ == "__main__":
    main()
