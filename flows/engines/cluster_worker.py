"""What a worker of a cluster does when asked: hands the order to an outpost of its own."""

import os
import subprocess
import sys
import threading
from typing import Self

from flows.engines.devices import VISIBLE
from flows.engines.worker_contract import Premises
from models.config import Record
from models.training.worker import Complaint, Work

SET_BY_CLUSTERS = {"OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"}
"""Dask and Ray limit threads by these; a trial has `trial.threads`."""

_idle: dict[tuple[str, str], list["Outpost"]] = {}
_lock = threading.Lock()


class Order(Record):
    """A trial to be trained, and what must hold where it is."""

    work: Work
    premises: Premises


def inspect(premises_json: str) -> str:
    """Say what this worker does not share with those who ask; empty: all is there."""
    return Premises.model_validate_json(premises_json).broken() or ""


def train(order_json: str) -> str | None:
    """Have a trial trained; return its Outcome or a Complaint, as JSON. None: the outpost died."""
    order = Order.model_validate_json(order_json)
    complaint = order.premises.broken()
    if complaint is not None:
        return Complaint(complaint=complaint).model_dump_json()
    # Ray shows each of its tasks other GPUs, and an outpost those it was started with.
    place = (order.premises.model_dump_json(), os.environ.get(VISIBLE, ""))
    outpost = _take(place) or Outpost.start(order.premises)
    answer = outpost.ask(order.work)
    if answer is not None:
        with _lock:
            _idle.setdefault(place, []).append(outpost)
    return answer


def _take(place: tuple[str, str]) -> "Outpost | None":
    with _lock:
        for other, outposts in _idle.items():
            _idle[other] = [outpost for outpost in outposts if outpost.alive]
        return _idle[place].pop() if _idle.get(place) else None


class Outpost:
    """A process beside this one that trains one trial at a time, as its own machine would."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process

    @classmethod
    def start(cls, premises: Premises) -> Self:
        """Start one in the project's folder; it begins to import what training needs."""
        environment = {
            name: value for name, value in os.environ.items() if name not in SET_BY_CLUSTERS
        }
        # -P: the folder may be a clone with code of its own, and this code was compared with ours.
        command = [
            sys.executable,
            "-P",
            "-m",
            "flows.engines.worker_agent",
            premises.model_dump_json(),
        ]
        return cls(
            subprocess.Popen(  # noqa: S603 - our own interpreter and module
                command,
                cwd=premises.root,
                env=environment,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
                encoding="utf-8",
            )
        )

    @property
    def alive(self) -> bool:
        """Whether the process runs."""
        return self._process.poll() is None

    def ask(self, work: Work) -> str | None:
        """Hand over an order and wait for its answer; None where the process died."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        try:
            self._process.stdin.write(work.model_dump_json() + "\n")
            self._process.stdin.flush()
        except BrokenPipeError:
            return None
        return self._process.stdout.readline().strip() or None
