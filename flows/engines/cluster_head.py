"""The cluster that we start ourselves: on loopback, in a process group that ends with us."""

import contextlib
import os
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from models.errors import PitchpipeError

LOG = Path("mlruns/cluster.log")
READY = "cluster at "
"""Begins the line in which a head says its address."""
MOST_SECONDS = 120.0
"""To start: Ray takes 8 s on a quiet machine, 50 on a busy one."""


@contextlib.contextmanager
def running_head(
    module: str, arguments: Sequence[str], *, environment: Mapping[str, str]
) -> Iterator[str]:
    """Run a module that starts a cluster and says where; yields its address.

    However we end, flows.bound kills the whole group. Raises PitchpipeError where it does not
    start.
    """
    LOG.parent.mkdir(exist_ok=True)
    command = [sys.executable, "-m", "flows.runtime.supervisor", "-m", module, *arguments]
    with LOG.open("ab") as log:
        process = subprocess.Popen(  # noqa: S603 - our own interpreter and modules
            command,
            env={**os.environ, **environment},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=log,
            text=True,
            start_new_session=True,
        )
    with process:  # leaving closes its standard input, which ends the group
        yield _address(process)


def _address(process: subprocess.Popen[str]) -> str:
    assert process.stdin is not None
    assert process.stdout is not None
    too_late = threading.Timer(MOST_SECONDS, process.stdin.close)
    too_late.start()
    try:
        for line in process.stdout:
            if line.startswith(READY):
                return line.removeprefix(READY).strip()
    finally:
        too_late.cancel()
    raise PitchpipeError(f"the cluster did not start; see {LOG}")


def say_ready(address: str) -> None:
    """Tell whoever started this process where the cluster is."""
    sys.stdout.write(f"{READY}{address}\n")
    sys.stdout.flush()
