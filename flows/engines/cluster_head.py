"""Starting of a cluster of our own: on loopback, in a process group that ends with us."""

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
"""Prefix of the line in which a head reports its address."""
START_SECONDS = 120.0
"""Time limit: Ray takes 8 s on an idle machine, 50 on a busy one."""


@contextlib.contextmanager
def running_head(
    module: str, arguments: Sequence[str], *, environment: Mapping[str, str]
) -> Iterator[str]:
    """Run a module that starts a cluster, while inside; yield the cluster's address.

    However this process ends, flows.runtime.supervisor kills the whole group. Raises PitchpipeError
    where the cluster does not start.
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
    too_late = threading.Timer(START_SECONDS, process.stdin.close)
    too_late.start()
    try:
        for line in process.stdout:
            if line.startswith(READY):
                return line.removeprefix(READY).strip()
    finally:
        too_late.cancel()
    raise PitchpipeError(f"the cluster did not start; see {LOG}")


def say_ready(address: str) -> None:
    """Report the cluster's address to the process that started this one."""
    sys.stdout.write(f"{READY}{address}\n")
    sys.stdout.flush()
