"""Trials that go wrong in their own process, as their seed says: a stand-in for the worker's `run`.

    monkeypatch.setattr("flows.engines.local.run", faulty_trials.run)

Also laid on whole commands, by `Fate(faulty_trials=True)` of dying_command.py.
"""

import json
import os
import signal
import threading
import time
from collections.abc import Callable
from multiprocessing.connection import Connection

from torch import Tensor, empty

from models.training import worker

HANGS, ATE_MEMORY, KILLED, DIVERGED, LINGERS = 101, 102, 103, 104, 105
"""Seeds. The last one trains well, and its process does not end."""
FOR_EVER = 3600.0


def _hang(images: Tensor, *_: object) -> Tensor:
    time.sleep(FOR_EVER)  # the fault itself
    return images


def _eat_memory(*_: object) -> Tensor:
    return empty(2**50)  # a million gigabytes: no kernel promises them


def _die(images: Tensor, *_: object) -> Tensor:
    os.kill(os.getpid(), signal.SIGKILL)  # as the kernel does where memory is short
    return images


def _diverge(images: Tensor, *_: object) -> Tensor:
    return images.float() * float("nan")


FAULTS: dict[int, Callable[..., Tensor]] = {
    HANGS: _hang,
    ATE_MEMORY: _eat_memory,
    KILLED: _die,
    DIVERGED: _diverge,
}
"""Seed -> what the network does with its first images."""


def run(job_json: str, connection: Connection) -> None:
    """Train a trial as the worker does, with the fault that its seed names."""
    from models.training import classifier  # noqa: PLC0415 - in the child, which has it

    seed = json.loads(job_json)["spec"]["config"]["seed"]
    if seed in FAULTS:
        classifier.normalise = FAULTS[seed]  # type: ignore[attr-defined] # it imports it
    worker.run(job_json, connection)
    if seed == LINGERS:
        threading.Thread(target=time.sleep, args=(FOR_EVER,)).start()
