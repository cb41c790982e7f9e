"""Dask clusters, through distributed's client."""

import contextlib
import logging
import secrets
import threading
from collections.abc import Iterator

from distributed import Client, Future, KilledWorker

from flows.engines import cluster_worker
from flows.engines.cluster import WorkerRequirements
from flows.engines.cluster_head import running_head
from flows.engines.devices import cuda_devices
from models.errors import ConfigError, PitchpipeError

CONNECT_SECONDS = 10


@contextlib.contextmanager
def dask_cluster(
    address: str | None, *, workers: int, needs: WorkerRequirements
) -> Iterator["DaskCluster"]:
    """Connect to the cluster at an address; None: to one that is started here and ends with us."""
    logging.getLogger("distributed").setLevel(logging.CRITICAL)
    with contextlib.ExitStack() as stack:
        if address is None:
            gpus = cuda_devices() if needs.gpus else ()
            arguments = [str(workers), str(needs.gpus), *gpus]
            head = running_head("flows.engines.dask_head", arguments, environment={})
            address = stack.enter_context(head)
        try:
            client = Client(address, timeout=CONNECT_SECONDS, set_as_default=False)
        except (OSError, ValueError) as error:
            raise ConfigError(f"--engine-address {address}: no Dask scheduler: {error}") from None
        yield DaskCluster(stack.enter_context(client), needs)


class DaskCluster:
    """A connection to a scheduler."""

    def __init__(self, client: Client, needs: WorkerRequirements) -> None:
        self._client, self._needs = client, needs

    @property
    def slots(self) -> int:
        """Trials at the same time: one thread of a worker for each core of a trial."""
        return max(1, int(sum(self._client.nthreads().values())) // self._needs.cores)

    def find_violations(self, contract_json: str) -> list[str]:
        """Ask the workers of now; those that join later check the contract before they train."""
        answers = self._client.run(cluster_worker.find_violation, contract_json, on_error="return")
        if not answers:
            return ["the Dask cluster has no worker; start some, or leave --engine-address out"]
        return [
            f"worker {worker}: {answer}"
            for worker, answer in answers.items()
            if answer  # an exception where it cannot import pitchpipe
        ]

    def submit(self, order_json: str) -> "DaskFuture":
        """Give an order to a free worker."""
        key = f"pitchpipe-{secrets.token_hex(8)}"
        return DaskFuture(
            self._client.submit(cluster_worker.train, order_json, key=key, pure=False)
        )


class DaskFuture:
    """A future of distributed."""

    def __init__(self, future: Future) -> None:
        self._future = future
        self._ended = threading.Event()
        future.add_done_callback(lambda _: self._ended.set())

    def ended(self, *, within: float) -> bool:
        """Wait for the end; the loss of the scheduler is one, too."""
        return self._ended.wait(within) or bool(self._future.done())

    def answer(self) -> str | None:
        """Return the worker's answer; None where the worker died."""
        try:
            answer: str | None = self._future.result()
        except KilledWorker:
            return None
        except Exception as error:
            raise PitchpipeError(
                f"the Dask cluster failed: {error}; run again to continue"
            ) from error
        return answer

    def cancel(self) -> None:
        """Cancel the order."""
        self._future.cancel()
