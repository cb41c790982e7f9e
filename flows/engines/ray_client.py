"""Connections to Ray clusters; to be imported once Ray's environment variables are set."""

import contextlib
import logging
from collections.abc import Iterator
from typing import Any

import ray
from ray.exceptions import (
    GetTimeoutError,
    NodeDiedError,
    OutOfMemoryError,
    RayError,
    WorkerCrashedError,
)
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from flows.engines import cluster_worker
from flows.engines.cluster import WorkerRequirements
from models.errors import ConfigError, PitchpipeError

CHECK_SECONDS = 60


@contextlib.contextmanager
def ray_connection(address: str, needs: WorkerRequirements) -> Iterator["RayCluster"]:
    """Connect this process to a cluster while inside."""
    try:
        ray.init(address=address, log_to_driver=False, logging_level=logging.ERROR)
    except (ConnectionError, ValueError, RuntimeError) as error:
        raise ConfigError(f"--engine-address {address}: no Ray cluster: {error}") from None
    try:
        yield RayCluster(needs)
    finally:
        ray.shutdown()


class RayCluster:
    """The Ray cluster that this process is connected to."""

    def __init__(self, needs: WorkerRequirements) -> None:
        self._needs = needs
        self._train = ray.remote(cluster_worker.train).options(
            num_cpus=needs.cores, num_gpus=needs.gpus, max_retries=0
        )

    @property
    def slots(self) -> int:
        """Trials at the same time: as many as the cores and GPUs of all nodes allow."""
        resources = ray.cluster_resources()
        cores = int(resources.get("CPU", 0)) // self._needs.cores
        if not self._needs.gpus:
            return cores
        return min(cores, int(resources.get("GPU", 0)) // self._needs.gpus)

    def find_violations(self, contract_json: str) -> list[str]:
        """Ask a worker on every node."""
        if self.slots == 0:
            return [f"no node of the Ray cluster has room for a trial, which takes {self._needs}"]
        nodes = [node["NodeID"] for node in ray.nodes() if node["Alive"]]
        check = ray.remote(cluster_worker.find_violation)
        places = [NodeAffinitySchedulingStrategy(node, soft=False) for node in nodes]
        futures = [
            check.options(num_cpus=0, scheduling_strategy=place).remote(contract_json)
            for place in places
        ]
        try:
            answers = ray.get(futures, timeout=CHECK_SECONDS)
        except (RayError, GetTimeoutError) as error:
            return [f"a node of the Ray cluster cannot run pitchpipe, install it there: {error}"]
        return [answer for answer in answers if answer]

    def submit(self, order_json: str) -> "RayFuture":
        """Give an order to a worker on a node with room."""
        return RayFuture(self._train.remote(order_json))


class RayFuture:
    """A task of Ray."""

    def __init__(self, reference: Any) -> None:
        self._reference = reference

    def ended(self, *, within: float) -> bool:
        """Wait for the end."""
        ready, _ = ray.wait([self._reference], timeout=within)
        return bool(ready)

    def answer(self) -> str | None:
        """Return the worker's answer; None where the worker died."""
        try:
            answer: str | None = ray.get(self._reference)
        except (WorkerCrashedError, NodeDiedError, OutOfMemoryError):
            return None
        except RayError as error:
            raise PitchpipeError(
                f"the Ray cluster failed: {error}; run again to continue"
            ) from error
        return answer

    def cancel(self) -> None:
        """Cancel the task, and kill its worker."""
        ray.cancel(self._reference, force=True)
