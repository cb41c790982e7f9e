"""Start-up: what a trial's process costs, and the imports before the first one.

Usage: python bench/startup.py [--output bench/results/startup.txt]   (1 minute)

A child is asked for as the engine asks for a trial's, and says when it stands with training
imported. Imports are in processes of their own, in turns, in seconds of the processor; the least of
some, since other work on the machine only adds.
"""

import argparse
import multiprocessing
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from multiprocessing.connection import Connection
from pathlib import Path

from flows.engines.local import warm_up

CHILDREN = 20
SAID = "import resource; used = resource.getrusage(resource.RUSAGE_SELF); print(sum(used[:2]))"
IMPORTS = {
    "training, as the fork server imports it": "import flows.engines.preload",
    "training, collecting garbage": "import models.training.fit, models.training.worker",
    "Prefect and MLflow, as `pitchpipe run` imports them": (
        "from flows.cli.main import collect_rarely; collect_rarely(); import flows.retrain"
    ),
    "Prefect and MLflow, collecting garbage": "import flows.retrain",
}


def stand(connection: Connection) -> None:
    """Say when this process stands."""
    import models.training.fit  # noqa: F401, PLC0415 - costs nothing where it was preloaded

    # The clock counts from the machine's start, in all processes alike.
    connection.send(time.monotonic())


def seconds_to_stand() -> float:
    """From asking for a child to its having training imported."""
    receiver, sender = multiprocessing.Pipe(duplex=False)
    child = multiprocessing.get_context("forkserver").Process(target=stand, args=(sender,))
    began = time.monotonic()
    child.start()
    stood: float = receiver.recv()
    child.join()
    return stood - began


def seconds_to_import(statement: str, home: str) -> float:
    """Of the processor, in a new process."""
    done = subprocess.run(
        [sys.executable, "-c", f"{statement}; {SAID}"],
        env={**os.environ, "PREFECT_HOME": home},
        capture_output=True,
        text=True,
        check=True,
    )
    return float(done.stdout.splitlines()[-1])


def table(rounds: int) -> Iterator[str]:
    yield f"{os.cpu_count()} cores, load {os.getloadavg()[0]:.1f} at the start\n"
    warm_up()
    first, *rest = (seconds_to_stand() for _ in range(CHILDREN))
    yield "wall seconds from asking for a trial's process to its having training imported"
    yield f"{first:>8.3f}  the first, which waits for the fork server's imports"
    yield f"{statistics.median(rest):>8.3f}  the next {len(rest)}, median; 0.1 is allowed"
    yield f"{max(rest):>8.3f}  the slowest of these\n"
    yield f"processor seconds of imports, the least of {rounds}"
    with tempfile.TemporaryDirectory() as home:
        used: dict[str, list[float]] = {title: [] for title in IMPORTS}
        for _ in range(rounds):
            for title, statement in IMPORTS.items():
                used[title].append(seconds_to_import(statement, home))
    for title, seconds in used.items():
        yield f"{min(seconds):>8.2f}  {title}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--output", type=Path)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    lines = []
    for line in table(options.rounds):
        print(line, flush=True)
        lines.append(line)
    if options.output:
        options.output.write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
