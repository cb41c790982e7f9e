"""The engine that trains trials on a cluster, and reads their epochs from the trial store."""

import logging
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from pydantic import TypeAdapter

from flows.engines.cluster_worker import Order
from flows.engines.local import MOST_STARTS, InterruptedTrialError, record_worker_deaths
from flows.engines.worker_contract import WorkerContract
from models.errors import PitchpipeError
from models.training.worker import Complaint, TrialJob
from models.trials import EpochRecord, Outcome, TrialFailure, TrialResult, read_history

log = logging.getLogger(__name__)

POLL_SECONDS = 0.5

_ANSWER: TypeAdapter[TrialResult | TrialFailure | Complaint] = TypeAdapter(
    TrialResult | TrialFailure | Complaint
)


@dataclass(frozen=True, slots=True)
class WorkerRequirements:
    """What a worker must offer for the largest trial of a search."""

    cores: int
    gpus: int


class ClusterFuture(Protocol):
    """The result of an order that was given to a cluster's worker."""

    def ended(self, *, within: float) -> bool:
        """Wait at most so many seconds; return whether it has ended."""
        ...

    def answer(self) -> str | None:
        """Return what `cluster_worker.train` returned, once ended; None where the worker died.

        Raises PitchpipeError where the cluster is gone, or cannot run our code.
        """
        ...

    def cancel(self) -> None:
        """Cancel the order, where it has not begun."""
        ...


class Cluster(Protocol):
    """A connection to a cluster."""

    @property
    def slots(self) -> int:
        """Trials that it can train at the same time."""
        ...

    def find_violations(self, contract_json: str) -> list[str]:
        """Ask every worker whether it keeps the contract; return what they do not share."""
        ...

    def submit(self, order_json: str) -> ClusterFuture:
        """Give an order to a worker."""
        ...


class ClusterEngine:
    """Trains trials on a cluster; orders and outcomes are sent, the rest is in the store."""

    def __init__(self, cluster: Cluster, contract: WorkerContract) -> None:
        """Raise PitchpipeError where a worker does not keep the contract."""
        self._cluster, self._contract = cluster, contract
        self._stopping = threading.Event()
        violations = cluster.find_violations(contract.model_dump_json())
        if violations:
            raise PitchpipeError("; ".join(dict.fromkeys(violations)))

    def train(self, job: TrialJob, on_epoch: Callable[[EpochRecord], None]) -> Outcome:
        """Train the job's trial on a worker; another one continues it where that dies."""
        order = Order(job=job, contract=self._contract).model_dump_json()
        for _ in range(MOST_STARTS):
            answer = self._answer(order, job, on_epoch)
            if answer is not None:
                return _outcome(answer)
            log.warning("the worker of trial %s died; another continues", job.label)
        return record_worker_deaths(job, how="the end of a cluster's worker")

    def _answer(
        self, order: str, job: TrialJob, on_epoch: Callable[[EpochRecord], None]
    ) -> str | None:
        history = _HistoryTail(job.directory)
        future = self._cluster.submit(order)
        ended = False
        while not ended:
            if self._stopping.is_set():
                future.cancel()
                raise InterruptedTrialError.of(job.label)
            ended = future.ended(within=POLL_SECONDS)
            for record in history.read_new():
                on_epoch(record)
        return future.answer()

    def stop(self) -> None:
        """Let every `train` return; workers end their trials once our contract is gone."""
        self._stopping.set()


class _HistoryTail:
    """Epochs as they are appended to a trial's history, which a replaced worker starts again."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._known = read_history(directory)

    def read_new(self) -> Iterator[EpochRecord]:
        """Yield the epochs that the last call did not see."""
        history = read_history(self._directory)
        for place, record in enumerate(history):
            # Not by number: an epoch that is trained again after a kill takes other seconds.
            if self._known[place : place + 1] != (record,):
                yield record
        self._known = history


def _outcome(answer: str) -> Outcome:
    outcome = _ANSWER.validate_json(answer)
    if isinstance(outcome, Complaint):
        raise PitchpipeError(outcome.complaint)
    return outcome
