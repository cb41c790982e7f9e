"""Functions that a cluster's worker runs: each order is passed to an agent process of its own."""

import os
import subprocess
import sys
import threading
from typing import Self

from flows.engines.devices import VISIBLE
from flows.engines.worker_contract import WorkerContract
from models.config import Record
from models.training.worker import Complaint, TrialJob

SET_BY_CLUSTERS = {"OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"}
"""With these Dask and Ray limit threads; a trial has `trial.threads`."""

_idle: dict[tuple[str, str], list["WorkerAgent"]] = {}
_lock = threading.Lock()


class Order(Record):
    """A trial to be trained, and what the worker must share with the retraining."""

    job: TrialJob
    contract: WorkerContract


def find_violation(contract_json: str) -> str:
    """Return what this worker does not share with the retraining; empty where it shares all."""
    return WorkerContract.model_validate_json(contract_json).violation() or ""


def train(order_json: str) -> str | None:
    """Train an order's trial; return its Outcome or a Complaint as JSON, None if the agent died."""
    order = Order.model_validate_json(order_json)
    violation = order.contract.violation()
    if violation is not None:
        return Complaint(complaint=violation).model_dump_json()
    # Ray shows each of its tasks other GPUs, and an agent sees those it was started with.
    place = (order.contract.model_dump_json(), os.environ.get(VISIBLE, ""))
    agent = _take_idle(place) or WorkerAgent.start(order.contract)
    answer = agent.ask(order.job)
    if answer is not None:
        with _lock:
            _idle.setdefault(place, []).append(agent)
    return answer


def _take_idle(place: tuple[str, str]) -> "WorkerAgent | None":
    with _lock:
        for other, agents in _idle.items():
            _idle[other] = [agent for agent in agents if agent.alive]
        return _idle[place].pop() if _idle.get(place) else None


class WorkerAgent:
    """A process of flows.engines.worker_agent, which trains one trial at a time."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process

    @classmethod
    def start(cls, contract: WorkerContract) -> Self:
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
            contract.model_dump_json(),
        ]
        return cls(
            subprocess.Popen(  # noqa: S603 - our own interpreter and module
                command,
                cwd=contract.root,
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

    def ask(self, job: TrialJob) -> str | None:
        """Send a job and wait for its answer; None where the process died."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        try:
            self._process.stdin.write(job.model_dump_json() + "\n")
            self._process.stdin.flush()
        except BrokenPipeError:
            return None
        return self._process.stdout.readline().strip() or None
