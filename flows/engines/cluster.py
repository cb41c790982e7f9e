"""The engine that has trials trained by a cluster's workers, and hears of them from the store."""

import logging
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from pydantic import TypeAdapter

from flows.engines.cluster_worker import Order
from flows.engines.local import MOST_STARTS, InterruptedTrialError, TrialJob, give_up
from flows.engines.worker_contract import Premises
from models.errors import PitchpipeError
from models.training.worker import Complaint
from models.trials import EpochRecord, Outcome, TrialFailure, TrialResult, read_history

log = logging.getLogger(__name__)

SECONDS_BETWEEN_LOOKS = 0.5

_ANSWER: TypeAdapter[TrialResult | TrialFailure | Complaint] = TypeAdapter(
    TrialResult | TrialFailure | Complaint
)


@dataclass(frozen=True, slots=True)
class Needs:
    """What the largest trial of a search takes of a worker."""

    cores: int
    gpus: int


class Asked(Protocol):
    """An order that a cluster's worker was given."""

    def ended(self, *, within: float) -> bool:
        """Wait so many seconds at most; whether it has ended."""
        ...

    def answer(self) -> str | None:
        """Return what `crew.train` did; None where the worker died. Once it has ended.

        Raises PitchpipeError where the cluster is gone, or cannot run our code.
        """
        ...

    def forget(self) -> None:
        """Let the cluster drop it, where it has not begun."""
        ...


class Cluster(Protocol):
    """Workers, and their engine's own client."""

    @property
    def slots(self) -> int:
        """Trials that it can train at once."""
        ...

    def inspect(self, premises_json: str) -> list[str]:
        """Have every worker look at the premises; return what they complain of."""
        ...

    def submit(self, order_json: str) -> Asked:
        """Give an order to a worker."""
        ...


class ClusterEngine:
    """Trains trials on a cluster; only orders and outcomes travel, the rest is in the store."""

    def __init__(self, cluster: Cluster, premises: Premises) -> None:
        """Raise PitchpipeError where a worker does not share what it must."""
        self._cluster, self._premises = cluster, premises
        self._stopping = threading.Event()
        complaints = cluster.inspect(premises.model_dump_json())
        if complaints:
            raise PitchpipeError("; ".join(dict.fromkeys(complaints)))

    def train(self, job: TrialJob, on_epoch: Callable[[EpochRecord], None]) -> Outcome:
        """Have a worker train the job's trial; another one goes on where it dies."""
        order = Order(work=job.work(), premises=self._premises).model_dump_json()
        for _ in range(MOST_STARTS):
            answer = self._answer(order, job, on_epoch)
            if answer is not None:
                return _outcome(answer)
            log.warning("the worker of trial %s died; another goes on", job.label)
        return give_up(job, how="the end of a cluster's worker")

    def _answer(
        self, order: str, job: TrialJob, on_epoch: Callable[[EpochRecord], None]
    ) -> str | None:
        history = _Tail(job.directory)
        asked = self._cluster.submit(order)
        over = False
        while not over:
            if self._stopping.is_set():
                asked.forget()
                raise InterruptedTrialError.of(job.label)
            over = asked.ended(within=SECONDS_BETWEEN_LOOKS)
            for record in history.news():
                on_epoch(record)
        return asked.answer()

    def stop(self) -> None:
        """Let every `train` return; workers end what they train once our premises are gone."""
        self._stopping.set()


class _Tail:
    """Epochs as they are appended to a trial's history, which a replaced worker begins anew."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._known = read_history(directory)

    def news(self) -> Iterator[EpochRecord]:
        """Yield what was not there at the last look."""
        history = read_history(self._directory)
        for place, record in enumerate(history):
            # Retrained after a kill, an epoch took other seconds.
            if self._known[place : place + 1] != (record,):
                yield record
        self._known = history


def _outcome(answer: str) -> Outcome:
    said = _ANSWER.validate_json(answer)
    if isinstance(said, Complaint):
        raise PitchpipeError(said.complaint)
    return said
