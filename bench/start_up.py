"""How long a trial's process takes to start: the first waits for the imports, the others fork.

Usage: python bench/start_up.py [--starts N]
"""

import argparse
import multiprocessing
import os
import statistics
import time
from multiprocessing.connection import Connection

from flows.engine import warm_up

BOUND_SECONDS = 0.1


def answer(connection: Connection) -> None:
    """What a trial's process does first: it has everything imported."""
    import models.training.fit  # noqa: PLC0415 - preloaded, or the child would pay for it

    connection.send(models.training.fit.__name__)


def seconds_to_start() -> float:
    receiver, sender = multiprocessing.Pipe(duplex=False)
    began = time.perf_counter()
    process = multiprocessing.get_context("forkserver").Process(target=answer, args=(sender,))
    process.start()
    receiver.recv()
    took = time.perf_counter() - began
    process.join()
    return took


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--starts", type=int, default=30)
    starts = parser.parse_args().starts
    warm_up()
    first = seconds_to_start()
    others = [seconds_to_start() for _ in range(starts)]
    print(f"cores: {os.cpu_count()}, load: {os.getloadavg()[0]:.1f}")
    print(f"first start (imports):       {first:7.3f} s")
    print(f"median of {starts:3} more starts:  {statistics.median(others):7.3f} s")
    print(f"longest of them:             {max(others):7.3f} s")
    kept = "kept" if statistics.median(others) < BOUND_SECONDS else "missed"
    print(f"bound of {BOUND_SECONDS} s after the first: {kept}")


if __name__ == "__main__":
    main()
